package relay_test

import (
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/relay"
	"outboxd/repository"
	"outboxd/repository/search"
	"outboxd/repository/upkeep"
)

// A unique event is suppressed if the task of another event holds its lock. Then it passes its
// key's turn on, and is never sent again, whatever Redis loses.
func TestASuppressedEventIsSettled(t *testing.T) {
	t.Parallel()
	for name, history := range map[string]bool{"with a history": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			databaseURL := schematest.Database(t)
			db := schematest.Connect(t, databaseURL)
			w := newTown(t, databaseURL, servertest.Redis(t), func(o *relay.Options) {
				o.Store = repository.NewOutbox(db, repository.OutboxOptions{History: history})
			})
			const invoice = `SELECT outboxd.emit('test:effect', '{"invoice": 7}', unique_seconds => 600, ordering_key => nullif($1, ''))`
			w.exec(invoice, "")
			w.start()
			w.eventually(0, "SELECT count(*) FROM outbox")
			w.watched()
			w.exec(invoice, "k")
			w.exec("SELECT outboxd.emit('test:effect', '{}', ordering_key => 'k')")
			w.eventually(1, "SELECT count(*) FROM outbox_suppressed WHERE ordering_key = 'k'")
			w.eventually(0, "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM outbox_held)")
			if n := len(w.tasks("default")); n != 2 {
				t.Errorf("%d tasks are in Redis, want the first invoice's and the one behind the second", n)
			}
			reader := search.NewLives(db)
			page, err := reader.Search(t.Context(), lives.Filter{State: lives.StateSuppressed}, domain.ID{}, 10)
			if err != nil || len(page.Events) != 1 || page.Events[0].OrderingKey != "k" {
				t.Fatalf("found %+v, %v, want the suppressed event", page, err)
			}
			life, err := reader.Find(t.Context(), page.Events[0].ID)
			if err != nil || life.State != lives.StateSuppressed || life.SuppressedAt.IsZero() {
				t.Errorf("its life is %+v, %v", life, err)
			}
			holder, err := domain.EventID(life.Holder)
			if err != nil || !w.tasks("default")[holder.String()] {
				t.Errorf("%q stands for it, %v, want the first invoice's task", life.Holder, err)
			}
			if says := life.Describe(nil, time.Now()); !strings.Contains(says, "event "+holder.String()+" stands for it") {
				t.Errorf("it says %q", says)
			}
			if n := w.counter("outboxd_relay_events_total", "outcome", "suppressed"); n != 1 {
				t.Errorf("%v suppressed events are counted, want 1", n)
			}
			w.wantSuppressed(1)

			if history {
				// Redis loses everything, the lock too. The first invoice is sent
				// again, and the suppressed event is not.
				before := w.heals()
				if err := w.redis.FlushDB(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
				w.healed(before)
				w.eventually(0, "SELECT count(*) FROM outbox")
			}
			// The producer repeats the suppressed event under the same ID, which has no effect.
			w.exec(`INSERT INTO outbox (id, event_type, payload, unique_seconds) SELECT id, event_type, payload, unique_seconds FROM outbox_suppressed`)
			w.eventually(0, "SELECT count(*) FROM outbox")
			w.wantSuppressed(1)
			w.work()
			w.eventually(2, "SELECT count(*) FROM inbox")
			w.allDone(2)
			if n, err := upkeep.NewHousekeeping(db, "").TrimSuppressed(t.Context(), 0, 10); err != nil || n != 1 {
				t.Errorf("%d suppressed events are trimmed, %v, want 1", n, err)
			}
			w.wantSuppressed(1)
		})
	}
}

func (w *town) wantSuppressed(events int64) {
	w.t.Helper()
	lines, err := search.NewAuditor(w.db).Account(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	suppressed := int64(0)
	for _, l := range lines {
		if suppressed += l.Suppressed; l.Difference() != 0 {
			w.t.Errorf("the account does not add up: %+v", l)
		}
	}
	if suppressed != events {
		w.t.Errorf("%d events are suppressed in the account, want %d", suppressed, events)
	}
	violations, err := search.NewAuditor(w.db).Violations(w.t.Context(), lines, 10)
	if err != nil || len(violations) != 0 {
		w.t.Errorf("violations: %+v, %v", violations, err)
	}
}
