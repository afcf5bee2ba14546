package heal_test

import (
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/lost"
	"outboxd/domain/queued"
	"outboxd/repository/heal"
)

// A missing event that the outbox does not take back, for example because it accepts only smaller payloads by now,
// keeps no other from being sent again. It stays missing, and the try counts.
func TestAMissingEventThatIsRefusedHoldsNoOtherBack(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := heal.NewMissingEvents(db)
	exec(t, db, `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at)
		SELECT outbox_new_id(), 'test:' || n, '', '{}', 'default', now(), 0, 0, now() FROM generate_series(1, 20) n`)
	exec(t, db, "ALTER TABLE outbox ADD CONSTRAINT but_seven CHECK (event_type <> 'test:7')")
	page, err := store.Page(t.Context(), domain.ID{}, domain.LastID(), 100, 0, nil)
	if err != nil || len(page.Waiting) != 20 {
		t.Fatalf("%d events wait, %v", len(page.Waiting), err)
	}
	var missing []lost.MissingEvent
	var list []domain.ID
	for _, e := range page.Waiting {
		missing, list = append(missing, lost.MissingEvent{SentEvent: e, Task: queued.TaskMissing}), append(list, e.Event.ID)
	}
	if noted, err := store.Note(t.Context(), missing); err != nil || len(noted) != 20 {
		t.Fatalf("%d are noted, %v", len(noted), err)
	}
	if n, err := store.Resend(t.Context(), list, "lost"); err != nil || n != 19 {
		t.Errorf("%d are sent again, %v, want 19", n, err)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_sent WHERE event_type = 'test:7'"); n != 1 {
		t.Errorf("%d of the one that is refused are in the history, want 1", n)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_missing WHERE resends = 1"); n != 20 {
		t.Errorf("the try counts for %d events, want 20", n)
	}
}
