package relay_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/jobs/inspect"
	"outboxd/jobs/lookup"
	"outboxd/jobs/publish"
	"outboxd/relay"
	"outboxd/relay/lead"
	"outboxd/repository/deadletters"
	"outboxd/repository/heal"
)

// newFinder makes a relay that, as the leader, searches the archived tasks of all queues
// of its Redis every 20 ms.
func newFinder(t *testing.T, databaseURL, redisURL string) *fixture {
	t.Helper()
	db := schematest.Connect(t, databaseURL)
	return newFixture(t, databaseURL, redisURL, func(o *relay.Options) {
		o.Archives = &lead.Archives{
			Queue: inspect.NewArchive(openRedis(t, redisURL)), Failures: deadletters.NewFailedTasks(db, true), Every: 20 * time.Millisecond,
		}
	})
}

// TestTheLeaderFindsWhatAnyQueueArchived has no worker at all. A task in a queue
// that outboxd does not serve is archived, among tasks that do not belong to this
// database.
func TestTheLeaderFindsWhatAnyQueueArchived(t *testing.T) {
	t.Parallel()
	redisURL := servertest.Redis(t)
	databaseURL := schematest.Database(t)
	f, other := newFinder(t, databaseURL, redisURL), newFinder(t, schematest.Database(t), redisURL)
	const kinds = "SELECT outboxd.emit(kind, '{\"n\": 1}', queue => queue, max_retry => 3) FROM (VALUES ('test:lost', 'billing'), ('test:discarded', 'billing'), ('test:waits', 'billing'), ('test:lost', 'Ünusual queue')) AS v (kind, queue)"
	f.exec(kinds)
	other.exec(kinds)
	stop := f.start()
	f.eventually(4, "SELECT count(*) FROM outbox_sent")
	other.start()
	other.eventually(4, "SELECT count(*) FROM outbox_sent")
	stop()
	f.exec("DELETE FROM outbox_sent WHERE event_type = 'test:discarded'")

	inspector := asynq.NewInspectorFromRedisClient(f.redis)
	archive := func(queue, kind string) {
		t.Helper()
		pending, err := inspector.ListPendingTasks(queue)
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range pending {
			if task.Type != kind {
				continue
			}
			if err := inspector.ArchiveTask(queue, task.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Archive more tasks than a search reads at once, in about the same second as ours.
	var strangers []redis.Z
	for n := range 2500 {
		strangers = append(strangers, redis.Z{Member: fmt.Sprintf("by-hand-%04d", n), Score: float64(time.Now().Unix())})
	}
	if err := f.redis.ZAdd(t.Context(), "asynq:{billing}:archived", strangers...).Err(); err != nil {
		t.Fatal(err)
	}
	archive("billing", "test:lost")
	archive("billing", "test:discarded")

	f = newFinder(t, databaseURL, redisURL)
	f.start()
	f.eventually(1, "SELECT count(*) FROM outbox_dead WHERE event_type = 'test:lost' AND queue = 'billing' AND stage = 'worker' AND payload = '{\"n\": 1}'")
	// A later look finds what was archived since, in another queue too.
	archive("Ünusual queue", "test:lost")
	f.eventually(2, "SELECT count(*) FROM outbox_dead")
	if n := f.count("SELECT count(*) FROM outbox_dead WHERE event_type <> 'test:lost'"); n != 0 {
		t.Errorf("%d events are dead that were discarded, or wait", n)
	}
	// The leader of the other database finds its own three tasks. Nothing was
	// discarded there.
	other.eventually(3, "SELECT count(*) FROM outbox_dead")
	// The relay counts a dead letter only after the commit that made it.
	servertest.Eventually(t, "two events are counted", func() bool { return f.value("outboxd_relay_archived_events_total") == 2 })
	if n := f.count("SELECT count(*) FROM outbox_sent"); n != 1 {
		t.Errorf("%d events are in the history, want the one that waits", n)
	}
	// The task itself stays for people to look at.
	var dead domain.ID
	if err := f.db.SQL().QueryRowContext(t.Context(), "SELECT id FROM outbox_dead WHERE queue = 'billing'").Scan(&dead); err != nil {
		t.Fatal(err)
	}
	tasks, err := lookup.New(openRedis(t, redisURL)).Tasks(t.Context(), &domain.Event{ID: dead, Generation: 2})
	if err != nil || len(tasks) != 1 || tasks[0].State != "archived" || tasks[0].Queue != "billing" {
		t.Errorf("Redis knows %+v, %v, want an archived task", tasks, err)
	}
}

// TestATaskThatWasArchivedLongAgoMakesADeadLetter archives a second task with a time
// before the first one's. The archivist's searches begin shortly before the newest
// archived task that they have seen. So only the reconciler can find the second.
func TestATaskThatWasArchivedLongAgoMakesADeadLetter(t *testing.T) {
	t.Parallel()
	redisURL, databaseURL := servertest.Redis(t), schematest.Database(t)
	db := schematest.Connect(t, databaseURL)
	f := newFixture(t, databaseURL, redisURL, func(o *relay.Options) {
		o.Archives = &lead.Archives{
			Queue: inspect.NewArchive(openRedis(t, redisURL)), Failures: deadletters.NewFailedTasks(db, true), Every: 20 * time.Millisecond,
		}
		o.Healing = &lead.Healing{Queue: o.Publisher.(*publish.Publisher), Memory: heal.NewQueueMemory(db), CheckInterval: time.Second}
		o.Reconciliation = &lead.Reconciliation{
			Events: heal.NewMissingEvents(db), Tasks: o.Publisher.(*publish.Publisher).Tasks(), Age: 50 * time.Millisecond, Every: 50 * time.Millisecond,
		}
	})
	f.start()
	f.exec("SELECT outboxd.emit('test:first', '{}', queue => 'billing')")
	f.eventually(1, "SELECT count(*) FROM outbox_sent")
	if n, err := asynq.NewInspectorFromRedisClient(f.redis).ArchiveAllPendingTasks("billing"); err != nil || n != 1 {
		t.Fatalf("%d tasks archived, %v", n, err)
	}
	f.eventually(1, "SELECT count(*) FROM outbox_dead")

	f.exec("SELECT outboxd.emit('test:again', '{}', queue => 'billing')")
	f.eventually(1, "SELECT count(*) FROM outbox_sent")
	const archive = `local id = redis.call("LPOP", KEYS[1]); redis.call("HSET", KEYS[2] .. id, "state", "archived"); return redis.call("ZADD", KEYS[3], ARGV[1], id)`
	err := f.redis.Eval(t.Context(), archive, []string{"asynq:{billing}:pending", "asynq:{billing}:t:", "asynq:{billing}:archived"}, time.Now().Add(-time.Hour).Unix()).Err()
	if err != nil {
		t.Fatal(err)
	}
	f.eventually(1, "SELECT count(*) FROM outbox_dead WHERE event_type = 'test:again' AND stage = 'worker'")
}

// An event that cannot become a dead letter keeps no other archived task of its queue from becoming one, and no lost
// event from being sent again. It becomes a dead letter as soon as it can.
func TestAnEventThatCannotDieHidesNoOther(t *testing.T) {
	t.Parallel()
	for name, hinder := range map[string]func(w *town) (end func()){
		"refused": func(w *town) func() {
			w.exec("ALTER TABLE outbox_dead ADD CONSTRAINT odd CHECK (event_type <> 'test:stays')")
			return func() { w.exec("ALTER TABLE outbox_dead DROP CONSTRAINT odd") }
		},
		"cancelled by an open transaction": func(w *town) func() { return w.keepOpen("outboxd.cancel(id)") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newArchivingTown(t)
			w.start()
			w.watched()
			stop := w.work()
			w.exec(emitEffects, 1) // of a type that is confirmed
			w.eventually(1, "SELECT count(*) FROM inbox")
			stop()
			w.exec("SELECT outboxd.emit('test:stays', '{}', queue => 'billing')")
			w.exec("SELECT outboxd.emit('test:dies', '{}', queue => 'billing')")
			w.eventually(0, "SELECT count(*) FROM outbox")
			end := hinder(w)
			if n, err := asynq.NewInspectorFromRedisClient(w.redis).ArchiveAllPendingTasks("billing"); err != nil || n != 2 {
				t.Fatalf("%d tasks archived, %v", n, err)
			}
			w.eventually(1, "SELECT count(*) FROM outbox_dead WHERE event_type = 'test:dies'")

			w.exec(emitEffects, 1)
			w.eventually(0, "SELECT count(*) FROM outbox")
			w.redis.Del(t.Context(), "asynq:{default}:pending")
			w.eventually(1, "SELECT count(*) FROM outbox_journal WHERE entry = 'redriven'")
			end()
			w.eventually(1, "SELECT count(*) FROM outbox_dead WHERE event_type = 'test:stays'")
		})
	}
}

// newArchivingTown makes a relay that looks for archived tasks and for lost ones all the time.
func newArchivingTown(t *testing.T) *town {
	t.Helper()
	redisURL, databaseURL := servertest.Redis(t), schematest.Database(t)
	db := schematest.Connect(t, databaseURL)
	return newTown(t, databaseURL, redisURL, func(o *relay.Options) {
		o.PollInterval = 100 * time.Millisecond // what is sent again wakes nobody
		o.Archives = &lead.Archives{
			Queue: inspect.NewArchive(openRedis(t, redisURL)), Failures: deadletters.NewFailedTasks(db, true), Every: 20 * time.Millisecond,
		}
		o.Reconciliation = &lead.Reconciliation{
			Events: heal.NewMissingEvents(db), Tasks: o.Publisher.(*publish.Publisher).Tasks(), Resend: true, Age: 50 * time.Millisecond, Every: 50 * time.Millisecond,
		}
	})
}

// keepOpen calls a function for the event of the type test:stays in a transaction that is open until end is called,
// and then rolls back.
func (w *town) keepOpen(call string) (end func()) {
	w.t.Helper()
	tx, err := w.db.SQL().BeginTx(w.t.Context(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := tx.ExecContext(w.t.Context(), "SET LOCAL idle_in_transaction_session_timeout = 0"); err != nil {
		w.t.Fatal(err)
	}
	if _, err := tx.ExecContext(w.t.Context(), "SELECT "+call+" FROM outbox_sent WHERE event_type = 'test:stays'"); err != nil {
		w.t.Fatal(err)
	}
	return func() { _ = tx.Rollback() }
}
