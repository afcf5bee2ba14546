package repository_test

import (
	"context"
	"testing"

	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/deadletters"
	"outboxd/repository/heal"
	"outboxd/repository/repositorytest"
)

// turnWithoutKey gives an event the turn of the key k, but leaves only a row of the event
// without a key, in the outbox. Then it writes the next event of k.
func (o *ordering) turnWithoutKey() {
	o.t.Helper()
	o.write(repeated, nil)
	o.pass()
	o.write(repeated, "k")
	o.pass()
	if n := count(o.t, o.db, "SELECT count(*) FROM outbox_turns WHERE event_id = $1", repeated); n != 1 {
		o.t.Fatalf("%d turns", n)
	}
	exec(o.t, o.db, "DELETE FROM outbox_sent WHERE ordering_key IS NOT NULL")
	exec(o.t, o.db, "INSERT INTO outbox_entries (event_type, created_at, repeated) SELECT event_type, created_at, 1 FROM outbox_sent")
	if n, err := heal.NewRedriver(o.db).Redrive(o.t.Context(), 1<<40); err != nil || n != 1 {
		o.t.Fatalf("%d events go back, %v", n, err)
	}
	o.write(firstID, "k")
}

// dieAt claims once, lets the event die, and puts the others back untried.
func (o *ordering) dieAt(id string) {
	o.t.Helper()
	batch := claim(o.t, o.store, 100)
	outcomes := make([]domain.Outcome, len(batch.Events()))
	for i, e := range batch.Events() {
		if e.ID.String() == id {
			outcomes[i].Verdict = domain.Dead
		}
	}
	if err := batch.Commit(o.t.Context(), outcomes); err != nil {
		o.t.Fatal(err)
	}
}

// The turn belongs to the event and not to one of its rows: a dead event passes
// it on even if its row has no key.
func TestADeadEventPassesItsTurnOnWithoutItsKeyToo(t *testing.T) {
	t.Parallel()
	o := newOrdering(t)
	o.turnWithoutKey()
	o.dieAt(repeated)
	o.end()
	if n := count(t, o.db, "SELECT count(*) FROM inbox WHERE event_id = $1", firstID); n != 1 {
		t.Error("the next event of the key never took effect")
	}
}

// If the repeat of an event in flight dies, the next event of its key still waits for the effect of the first.
func TestTheRepeatOfAnEventInFlightDiesAndKeepsItsTurn(t *testing.T) {
	t.Parallel()
	o := newOrdering(t)
	o.write(repeated, "k")
	o.pass()
	o.write(firstID, "k")
	o.pass()
	o.write(repeated, "k")
	o.dieAt(repeated)
	o.tidy()
	o.pass()
	if n := count(t, o.db, "SELECT count(*) FROM outbox_held WHERE id = $1", firstID); n != 1 {
		t.Error("the next event of the key goes before the effect of the first")
	}
	o.end()
}

// A worker gives up a task of an event whose dead letter has a later generation.
func TestATaskIsGivenUpWhoseEventIsDeadInALaterGeneration(t *testing.T) {
	t.Parallel()
	o := newOrdering(t)
	exec(t, o.db, "INSERT INTO outbox (id, event_type, payload, generation) VALUES ($1, 'test:a', 'x', 5)", repeated)
	o.dieAt(repeated)
	o.write(repeated, "k")
	o.pass()
	o.write(firstID, "k")
	o.pass()
	id, err := domain.ParseID(repeated)
	if err != nil {
		t.Fatal(err)
	}
	burial, err := deadletters.NewFailedTasks(o.db, false).Bury(t.Context(), domain.FailedTask{Event: domain.Event{ID: id, Type: "test:a"}, Attempt: 1}, false)
	if err != nil || burial != domain.Buried {
		t.Errorf("burial %v: %v", burial, err)
	}
	if n := count(t, o.db, "SELECT count(*) FROM outbox_sent WHERE id = $1", repeated); n != 0 {
		t.Error("the event is in flight for ever")
	}
	if n := count(t, o.db, "SELECT generation FROM outbox_dead WHERE id = $1", repeated); n != 5 {
		t.Errorf("the dead letter has generation %d, want 5", n)
	}
	o.end()
	if n := count(t, o.db, "SELECT count(*) FROM inbox WHERE event_id = $1", firstID); n != 1 {
		t.Error("the next event of the key never took effect")
	}
}

// An event has the turn of its ordering key, and its producer writes it once more, with another key. The event goes back to the outbox
// while the second row waits there, so only the second row is left. The event takes effect all the same, and before the next of its
// key.
func TestTheLastRowOfAnEventIsNotAbsorbed(t *testing.T) {
	t.Parallel()
	id, err := domain.ParseID(repeated)
	if err != nil {
		t.Fatal(err)
	}
	for name, back := range map[string]func(*ordering) error{
		"the queue lost it": func(o *ordering) error {
			o.pass()
			o.write(repeated, "other")
			_, err := heal.NewRedriver(o.db).Redrive(o.t.Context(), 1<<40)
			return err
		},
		"it is missing": func(o *ordering) error {
			o.pass()
			o.write(repeated, "other")
			_, err := heal.NewMissingEvents(o.db).Resend(o.t.Context(), []domain.ID{id}, "it is missing")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrdering(t)
			o.write(repeated, "k")
			if err := back(o); err != nil {
				t.Fatal(err)
			}
			o.write(nextID, "k")
			o.pass()
			o.tidy()
			o.pass()
			if n := count(t, o.db, "SELECT count(*) FROM outbox_held WHERE id = $1", nextID); n != 1 {
				t.Error("the next event of the key goes before the effect of the first")
			}
			o.confirm(repeated)
			o.end()
			for _, id := range []string{repeated, nextID} {
				if n := count(t, o.db, "SELECT count(*) FROM outbox_sent WHERE id = $1", id); n == 0 {
					t.Errorf("event %s was never sent again", id)
				}
			}
		})
	}
}

// While an event goes back to the outbox, no relay claims the repeat that is there. A relay that still saw the row in
// the history would absorb the repeat, and nothing would be left.
func TestARepeatIsNotClaimedWhileItsEventGoesBack(t *testing.T) {
	t.Parallel()
	o := newOrdering(t)
	o.write(repeated, "k")
	o.pass()
	o.write(repeated, "other")
	// The transaction that moves the event back stops before its commit, at a lock that the test has.
	exec(t, o.db, `CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$`)
	exec(t, o.db, `CREATE CONSTRAINT TRIGGER stop AFTER INSERT ON outbox_entries DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW WHEN (NEW.repeated > 0) EXECUTE FUNCTION stop()`)
	tx := repository.Begin(t.Context(), o.db)
	defer tx.Rollback()
	if err := tx.Exec("SELECT pg_advisory_xact_lock(1)").Error; err != nil {
		t.Fatal(err)
	}
	back := make(chan error, 1)
	go func() {
		_, err := heal.NewRedriver(o.db).Redrive(context.WithoutCancel(t.Context()), 1<<40)
		back <- err
	}()
	repositorytest.Eventually(t, o.db, 1, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'")
	if batch := claim(t, o.store, 100); len(batch.Events())+batch.Held() > 0 {
		t.Error("a relay claims the repeat")
	}
	if err := tx.Rollback().Error; err != nil {
		t.Fatal(err)
	}
	if err := <-back; err != nil {
		t.Fatal(err)
	}
	o.end()
	if n := count(t, o.db, "SELECT count(*) FROM inbox WHERE event_id = $1", repeated); n != 1 {
		t.Error("the event never took effect")
	}
}
