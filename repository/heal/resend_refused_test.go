package heal_test

import (
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/lost"
	"outboxd/domain/queued"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
)

// twentyMissing writes 20 events to the history, of the types test:1 to test:20, notes all as missing, and returns
// their IDs.
func twentyMissing(t *testing.T, db *postgres.Database) (*heal.MissingEvents, []domain.ID) {
	t.Helper()
	store := heal.NewMissingEvents(db)
	exec(t, db, `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at)
		SELECT outbox_new_id(), 'test:' || n, '', '{}', 'default', now(), 0, 0, now() FROM generate_series(1, 20) n`)
	page, err := store.Page(t.Context(), domain.ID{}, domain.LastID(), 100, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	var missing []lost.MissingEvent
	var list []domain.ID
	for _, e := range page.Waiting {
		missing, list = append(missing, lost.MissingEvent{SentEvent: e, Task: queued.TaskMissing}), append(list, e.Event.ID)
	}
	if noted, err := store.Note(t.Context(), missing); err != nil || len(noted) != 20 {
		t.Fatalf("%d are noted, %v", len(noted), err)
	}
	return store, list
}

// An event that the outbox does not take back, for example because it accepts only smaller payloads by now, becomes a
// dead letter and keeps no other from being sent again. If the outbox takes no event at all, no single event is at
// fault: all stay as they are, and the try does not count.
func TestARefusedEventHoldsNoOtherBack(t *testing.T) {
	t.Parallel()
	for name, resend := range map[string]func(*heal.MissingEvents, []domain.ID) (int64, error){
		"by the leader": func(m *heal.MissingEvents, ids []domain.ID) (int64, error) {
			return m.Resend(t.Context(), ids, "its task is lost")
		},
		"by hand": func(m *heal.MissingEvents, ids []domain.ID) (int64, error) {
			return m.RedriveEvents(t.Context(), &domain.Action{Actor: "alice"}, ids)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := schematest.Open(t)
			store, ids := twentyMissing(t, db)
			exec(t, db, "ALTER TABLE outbox ADD CONSTRAINT nothing CHECK (false)")
			if n, err := resend(store, ids); err == nil || !strings.Contains(err.Error(), `"nothing"`) || n != 0 {
				t.Errorf("%d went back, %v", n, err)
			}
			if n := count(t, db, "SELECT count(*) FROM outbox_missing JOIN outbox_sent ON id = event_id WHERE resends = 0"); n != 20 {
				t.Errorf("%d are in the history and were not tried, want 20", n)
			}
			exec(t, db, "ALTER TABLE outbox DROP CONSTRAINT nothing, ADD CONSTRAINT but_seven CHECK (event_type <> 'test:7')")
			if n, err := resend(store, ids); err != nil || n != 19 {
				t.Errorf("%d went back, %v, want 19", n, err)
			}
			if n := count(t, db, "SELECT count(*) FROM outbox_dead WHERE event_type = 'test:7'"); n != 1 {
				t.Errorf("%d of the one that is refused are dead, want 1", n)
			}
			if n := count(t, db, "SELECT coalesce(sum(events), 19) FROM outbox_actions"); n != 19 {
				t.Errorf("the record says %d events, want 19", n)
			}
		})
	}
}

// A refused event that cannot become a dead letter either stays in the history. The try counts, so that the leader
// does not try for ever.
func TestATryWithAnEventThatCannotDieCounts(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store, ids := twentyMissing(t, db)
	exec(t, db, "ALTER TABLE outbox ADD CONSTRAINT but_seven CHECK (event_type <> 'test:7')")
	exec(t, db, "ALTER TABLE outbox_dead ADD CONSTRAINT but_seven CHECK (event_type <> 'test:7')")
	if n, err := store.Resend(t.Context(), ids, "its task is lost"); err != nil || n != 19 {
		t.Errorf("%d went back, %v, want 19", n, err)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_sent WHERE event_type = 'test:7'"); n != 1 {
		t.Errorf("%d of the one that is refused are in the history, want 1", n)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_missing WHERE resends = 1"); n != 20 {
		t.Errorf("the try counts for %d events, want 20", n)
	}
}
