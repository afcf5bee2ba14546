package heal_test

import (
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/repository/heal"
)

// If the outbox takes no event back at all, no single event is at fault. The
// events stay in the history, and the heal fails and says why. An event that is
// refused alone becomes a dead letter.
func TestAnOutboxThatTakesNothingBackMakesNoDeadLetters(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := heal.NewRedriver(db)
	exec(t, db, `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at)
		SELECT outbox_new_id(), 'test:' || n, '', '{}', 'default', now(), 0, 0, now() FROM generate_series(1, 20) n`)
	exec(t, db, "ALTER TABLE outbox ADD CONSTRAINT nothing CHECK (false)")
	if n, err := store.Redrive(t.Context(), time.Hour); err == nil || !strings.Contains(err.Error(), `"nothing"`) || n != 0 {
		t.Errorf("%d went back, %v", n, err)
	}
	if dead, sent := count(t, db, "SELECT count(*) FROM outbox_dead"), count(t, db, "SELECT count(*) FROM outbox_sent"); dead != 0 || sent != 20 {
		t.Errorf("%d are dead and %d in the history, want 0 and 20", dead, sent)
	}
	exec(t, db, "ALTER TABLE outbox DROP CONSTRAINT nothing, ADD CONSTRAINT but_seven CHECK (event_type <> 'test:7')")
	if n, err := store.Redrive(t.Context(), time.Hour); err != nil || n != 19 {
		t.Errorf("%d went back, %v, want 19", n, err)
	}
	if dead := count(t, db, "SELECT count(*) FROM outbox_dead WHERE event_type = 'test:7'"); dead != 1 {
		t.Errorf("%d of the one that is refused are dead, want 1", dead)
	}
}
