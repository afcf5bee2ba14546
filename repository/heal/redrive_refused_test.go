package heal_test

import (
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/repository/heal"
	"outboxd/repository/repositorytest"
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

// An event that the outbox refuses is confirmed, or becomes a dead letter, before the
// leader has set it aside. No other event dies in its place, and all that are behind it
// go back.
func TestARefusedEventThatEndsMeanwhileChangesNoOther(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  string
		dead int
	}{
		"confirmed": {"INSERT INTO inbox (event_id) SELECT o.id ", 0},
		"dead":      {schematest.DeadOf("e"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := schematest.Open(t)
			exec(t, db, `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at)
				SELECT outbox_new_id(), 'test:' || n, '', '{}', 'default', now(), 0, 0, now() FROM generate_series(1, 20) n`)
			exec(t, db, "ALTER TABLE outbox ADD CONSTRAINT but_seven CHECK (event_type <> 'test:7')")
			// Before the leader sets an event aside, it tries whether the outbox takes a made-up one.
			exec(t, db, "CREATE FUNCTION tried() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END'")
			exec(t, db, "CREATE TRIGGER tried BEFORE INSERT ON outbox FOR EACH ROW WHEN (NEW.event_type = 'outboxd:probe') EXECUTE FUNCTION tried()")
			_, run := repositorytest.Session(t, db)
			run("SELECT pg_advisory_lock(7)")
			healed := redriveBeside(t, db)
			repositorytest.AwaitWaiting(t, db)
			exec(t, db, c.end+"FROM outbox_sent o WHERE o.event_type = 'test:7'")
			run("SELECT pg_advisory_unlock(7)")
			if n := <-healed; n != 19 {
				t.Errorf("%d went back, want 19", n)
			}
			if dead := count(t, db, "SELECT count(*) FROM outbox_dead"); dead != c.dead {
				t.Errorf("%d are dead, want %d", dead, c.dead)
			}
		})
	}
}
