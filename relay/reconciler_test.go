package relay_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/jobs/publish"
	"outboxd/relay"
	"outboxd/relay/lead"
	"outboxd/repository/examine"
	"outboxd/repository/heal"
)

// newReconciledTown makes a town that looks for single losses often.
func newReconciledTown(t *testing.T, resend bool) *town {
	t.Helper()
	databaseURL := schematest.Database(t)
	return newTown(t, databaseURL, servertest.Redis(t), func(o *relay.Options) {
		o.PollInterval = 100 * time.Millisecond // what is sent again wakes nobody
		o.Reconciliation = &lead.Reconciliation{
			Events: heal.NewMissingEvents(schematest.Connect(t, databaseURL)), Tasks: o.Publisher.(*publish.Publisher).Tasks(),
			Resend: resend, Age: 100 * time.Millisecond, Every: 100 * time.Millisecond,
		}
	})
}

const emitKeyed = `
INSERT INTO outbox (event_type, payload, ordering_key, retention_seconds)
SELECT 'test:effect', '', CASE WHEN n % 2 = 0 THEN 'key-' || n % 20 END, CASE WHEN n % 3 = 0 THEN 600 END FROM generate_series(1, $1::int) n`

// Single tasks are removed from Redis in several ways, and the canary stays. The leader sends their
// events again, and does not heal.
func TestSingleTasksAreLost(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, w *town){
		"all that wait are deleted by the inspector": func(t *testing.T, w *town) {
			if _, err := asynq.NewInspectorFromRedisClient(w.redis).DeleteAllPendingTasks("default"); err != nil {
				t.Fatal(err)
			}
		},
		"the queue is deleted by the inspector": func(t *testing.T, w *town) {
			if err := asynq.NewInspectorFromRedisClient(w.redis).DeleteQueue("default", true); err != nil {
				t.Fatal(err)
			}
		},
		"the list is deleted": func(_ *testing.T, w *town) { w.redis.Del(w.t.Context(), "asynq:{default}:pending") },
		"hashes are deleted": func(_ *testing.T, w *town) {
			deleted := 0
			for id := range w.tasks("default") {
				if deleted++; deleted <= 5 {
					w.redis.Del(w.t.Context(), "asynq:{default}:t:"+id)
				}
			}
		},
		"hashes are deleted and made again": func(_ *testing.T, w *town) {
			for id := range w.tasks("default") {
				w.redis.Del(w.t.Context(), "asynq:{default}:t:"+id)
				w.redis.HSet(w.t.Context(), "asynq:{default}:t:"+id, "state", "active")
			}
			w.redis.Rename(w.t.Context(), "asynq:{default}:pending", "asynq:{default}:active")
		},
		"leases are deleted whose worker died": func(_ *testing.T, w *town) {
			for id := range w.tasks("default") {
				w.redis.HSet(w.t.Context(), "asynq:{default}:t:"+id, "state", "active")
				w.redis.HDel(w.t.Context(), "asynq:{default}:t:"+id, "pending_since")
			}
			w.redis.Rename(w.t.Context(), "asynq:{default}:pending", "asynq:{default}:active")
		},
	}
	for name, lose := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newReconciledTown(t, true)
			w.start()
			w.watched()
			stop := w.work()
			w.exec(emitEffects, 3) // of a type that is confirmed
			w.eventually(3, "SELECT count(*) FROM inbox")
			stop()
			w.exec(emitKeyed, 100)
			w.eventually(0, "SELECT count(*) FROM outbox")
			lose(t, w)
			w.eventually(1, "SELECT count(*) FROM (SELECT FROM outbox_journal WHERE entry = 'redriven' LIMIT 1) AS one")
			w.work()
			w.allDone(103)
			w.eventually(0, "SELECT count(*) FROM outbox_missing")
			w.eventually(0, "SELECT count(*) FROM outbox_held")
			if w.heals() != "" {
				t.Error("all was healed because of a few")
			}
		})
	}
}

// A consumer that never confirms looks as if its tasks were lost. Its events are only reported.
func TestWhatNobodyConfirmsIsOnlyReported(t *testing.T) {
	t.Parallel()
	for name, resend := range map[string]bool{"of an unproven type": true, "asked to report only": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newReconciledTown(t, resend)
			w.start()
			w.watched()
			if !resend {
				stop := w.work()
				w.exec(emitEffects, 1)
				w.eventually(1, "SELECT count(*) FROM inbox")
				stop()
			}
			w.exec(emitEffects, 10)
			w.eventually(0, "SELECT count(*) FROM outbox")
			w.redis.Del(t.Context(), "asynq:{default}:pending")
			w.eventually(10, "SELECT count(*) FROM outbox_missing")
			// Wait for another round, to see that the events stay recorded and are not sent again.
			w.exec("UPDATE outbox_missing SET seen_at = found_at")
			w.eventually(10, "SELECT count(*) FROM outbox_missing WHERE seen_at > found_at + interval '100 ms'")
			if n := w.count("SELECT count(*) FROM outbox_journal"); n != 0 {
				t.Errorf("%d were sent again", n)
			}
			found, err := examine.New(w.db, examine.Options{Now: time.Now, KeyAge: time.Hour, SnapshotAge: time.Hour}).Examine(t.Context())
			if err != nil || !slices.ContainsFunc(found, func(f domain.Finding) bool {
				return f.Code == "events-missing" && strings.Contains(f.Found, "10 events") && strings.Contains(f.Found, "test:effect")
			}) {
				t.Errorf("no finding of 10 missing events (%v): %v", err, found)
			}
			// An operator sends the missing events again by hand.
			w.exec("DELETE FROM outbox_missing")
			w.work()
			w.eventually(10, "SELECT count(*) FROM outbox_missing")
			if n := sendMissing(t, w); n != 10 {
				t.Fatalf("%d events were sent again, want 10", n)
			}
			w.eventually(0, "SELECT count(*) FROM outbox_missing")
		})
	}
}

// A Redis that is too small evicts its least recently used keys while a worker works:
// tasks, lists, leases and the canary go at any moment. Every event takes effect all
// the same, or is reported. A reported event takes effect when Redis has room and an
// operator sends it again.
func TestARedisThatEvictsWhatWaits(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	databaseURL := schematest.Database(t)
	w := newTown(t, databaseURL, server.URL(), func(o *relay.Options) {
		o.PollInterval = 100 * time.Millisecond
		o.Reconciliation = &lead.Reconciliation{
			Events: heal.NewMissingEvents(schematest.Connect(t, databaseURL)), Tasks: o.Publisher.(*publish.Publisher).Tasks(),
			Resend: true, Age: time.Second, Every: 100 * time.Millisecond,
		}
	})
	w.start()
	w.watched()
	w.work()
	w.exec(emitEffects, 3)
	w.eventually(3, "SELECT count(*) FROM inbox")
	w.redis.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru")
	w.redis.ConfigSet(t.Context(), "maxmemory", "3mb")
	const events = 1200
	w.exec(`INSERT INTO outbox (event_type, payload, ordering_key)
		SELECT 'test:effect', convert_to(repeat('x', 4000), 'UTF8'), CASE WHEN n % 10 = 0 THEN 'key-' || n % 70 END FROM generate_series(1, $1::int) n`, events)
	// A task whose lease was evicted waits to be tried again, and events with its key behind it.
	const settled = `SELECT ((SELECT count(*) FROM inbox) + (SELECT count(*) FROM outbox_held)
		+ (SELECT count(*) FROM outbox_missing m WHERE NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = m.event_id)) >= $1)::int`
	for deadline := time.After(servertest.Patience); w.count(settled, 3+events) != 1; {
		retryAtOnce(t, w)
		select {
		case <-deadline:
			t.Fatal("some events are neither done nor reported, though every task was tried again at once")
		case <-time.After(20 * time.Millisecond):
		}
	}
	evicted, err := w.redis.Info(t.Context(), "stats").Result()
	if err != nil || strings.Contains(evicted, "evicted_keys:0\r") {
		t.Errorf("Redis evicted nothing (%v)", err)
	}
	t.Logf("sent again: %d, missing: %d", w.count("SELECT count(*) FROM outbox_journal WHERE entry = 'redriven'"), w.count("SELECT count(*) FROM outbox_missing"))
	w.redis.ConfigSet(t.Context(), "maxmemory", "0")
	// Reported events are sent again until none is reported: an event that was
	// evicted last is reported a while after there is room.
	for deadline := time.After(servertest.Patience); w.count("SELECT count(*) FROM inbox") != 3+events; {
		sendMissing(t, w)
		retryAtOnce(t, w)
		select {
		case <-deadline:
			t.Fatal("with room some events have still not taken effect")
		case <-time.After(20 * time.Millisecond):
		}
	}
	w.allDone(3 + events)
	w.eventually(0, "SELECT count(*) FROM outbox_missing")
	w.eventually(0, "SELECT count(*) FROM outbox_held")
}

// retryAtOnce makes the tasks due that wait to be tried again, unless Redis just evicts
// the list of the queues, without which the inspector knows none.
func retryAtOnce(t *testing.T, w *town) {
	t.Helper()
	w.redis.SAdd(t.Context(), "asynq:queues", "default")
	_, err := asynq.NewInspectorFromRedisClient(w.redis).RunAllRetryTasks("default")
	if err != nil && !strings.Contains(err.Error(), `queue "default" does not exist`) {
		t.Fatal(err)
	}
}

// sendMissing sends the missing events again, as an operator would, and returns how
// many events those were.
func sendMissing(t *testing.T, w *town) int64 {
	t.Helper()
	missing, err := w.options.Reconciliation.Events.Missing(t.Context(), 10_000)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]domain.ID, len(missing))
	for i := range missing {
		ids[i] = missing[i].Event.ID
	}
	n, err := heal.NewMissingEvents(w.db).RedriveEvents(t.Context(), &domain.Action{Actor: "ada@example.com"}, ids)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
