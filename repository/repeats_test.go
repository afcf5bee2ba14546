package repository_test

import (
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/deadletters"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
	"outboxd/repository/upkeep"
)

const (
	firstID  = "11111111-0000-7000-8000-000000000001"
	repeated = "22222222-0000-7000-8000-000000000002"
)

// ordering is an outbox in which events of a key are handed on and confirmed.
type ordering struct {
	t     *testing.T
	db    *postgres.Database
	store *repository.Outbox
}

func newOrdering(t *testing.T) *ordering {
	db := schematest.Open(t)
	return &ordering{t, db, repository.NewOutbox(db, repository.OutboxOptions{History: true})}
}

func (o *ordering) write(id string, key any) {
	o.t.Helper()
	exec(o.t, o.db, "INSERT INTO outbox (id, event_type, payload, ordering_key) VALUES ($1, 'test:a', 'x', $2)", id, key)
}

// pass claims and delivers until nothing is due.
func (o *ordering) pass() {
	o.t.Helper()
	for {
		batch := claim(o.t, o.store, 100)
		if len(batch.Events())+batch.Held() == 0 {
			return
		}
		deliverAll(o.t, batch)
	}
}

// confirm is a consumer's transaction. A second one is none.
func (o *ordering) confirm(id string) {
	o.t.Helper()
	exec(o.t, o.db, "SELECT outboxd.confirm($1)", id)
}

func (o *ordering) tidy() {
	o.t.Helper()
	if _, _, _, err := upkeep.NewHousekeeping(o.db, "").AdvanceKeys(o.t.Context(), "", 1000); err != nil {
		o.t.Fatal(err)
	}
}

// end confirms everything that was sent, and looks whether all is well then.
func (o *ordering) end() {
	o.t.Helper()
	for range 5 {
		o.pass()
		exec(o.t, o.db, "INSERT INTO inbox (event_id) SELECT DISTINCT id FROM outbox_sent ON CONFLICT DO NOTHING")
		o.tidy()
	}
	if n := count(o.t, o.db, "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM outbox_held) + (SELECT count(*) FROM outbox_turns)"); n != 0 {
		o.t.Errorf("%d rows wait, are held or have a turn", n)
	}
	addsUp(o.t, o.db)
}

// A producer that repeats itself, in every place that the event can be.
func TestAnEventThatIsWrittenTwiceCountsOnce(t *testing.T) {
	t.Parallel()
	other := "o-2"
	keys := map[string]any{"the same key": "o-1", "another key": other, "no key": nil}
	for name, key := range keys {
		t.Run("held, "+name, func(t *testing.T) {
			t.Parallel()
			o := newOrdering(t)
			o.write(firstID, "o-1")
			o.pass()
			o.write(repeated, "o-1")
			o.pass()
			o.write(repeated, key)
			o.pass()
			o.confirm(firstID)
			o.end()
		})
		t.Run("held, and not claimed before the turn, "+name, func(t *testing.T) {
			t.Parallel()
			o := newOrdering(t)
			o.write(firstID, "o-1")
			o.pass()
			o.write(repeated, "o-1")
			o.pass()
			o.write(repeated, key)
			o.confirm(firstID)
			o.end()
			if n := count(t, o.db, "SELECT count(*) FROM outbox_sent WHERE id = $1", repeated); n != 1 {
				t.Errorf("it was sent %d times", n)
			}
		})
		t.Run("held, and being claimed at the turn, "+name, func(t *testing.T) {
			t.Parallel()
			o := newOrdering(t)
			o.write(firstID, "o-1")
			o.pass()
			o.write(repeated, "o-1")
			o.pass()
			o.write(repeated, key)
			tx := repository.Begin(t.Context(), o.db)
			defer tx.Rollback()
			if err := tx.Exec("DELETE FROM outbox WHERE id = ?", repeated).Error; err != nil {
				t.Fatal(err)
			}
			o.confirm(firstID) // must not wait
			tx.Rollback()
			o.end()
		})
		t.Run("with the turn, "+name, func(t *testing.T) {
			t.Parallel()
			o := newOrdering(t)
			o.write(repeated, "o-1")
			o.pass()
			o.write(repeated, key)
			o.pass()
			o.tidy()
			o.confirm(repeated)
			o.end()
		})
		t.Run("confirmed, "+name, func(t *testing.T) {
			t.Parallel()
			o := newOrdering(t)
			o.write(repeated, "o-1")
			o.pass()
			o.confirm(repeated)
			o.write(repeated, key)
			o.end()
		})
		t.Run("dead, "+name, func(t *testing.T) {
			t.Parallel()
			o := newOrdering(t)
			for range 2 {
				o.write(repeated, key)
				batch := claim(t, o.store, 10)
				for len(batch.Events()) == 0 && batch.Held() > 0 {
					batch = claim(t, o.store, 10)
				}
				if len(batch.Events()) != 1 {
					t.Fatalf("%d events", len(batch.Events()))
				}
				if err := batch.Settle(t.Context(), []domain.Outcome{{Verdict: domain.Dead}}); err != nil {
					t.Fatal(err)
				}
			}
			o.end()
			if n := count(t, o.db, "SELECT count(*) FROM outbox_dead"); n != 1 {
				t.Errorf("%d dead letters", n)
			}
		})
		t.Run("lost by the queue, "+name, func(t *testing.T) {
			t.Parallel()
			o := newOrdering(t)
			o.write(repeated, key)
			o.pass()
			o.write(repeated, key)
			o.pass()
			o.write(repeated, key)
			if _, err := heal.NewRedriver(o.db).Redrive(t.Context(), 1<<40); err != nil {
				t.Fatal(err)
			}
			addsUp(t, o.db)
			o.end()
		})
		t.Run("given up by the worker, "+name, func(t *testing.T) {
			t.Parallel()
			o := newOrdering(t)
			id, err := domain.ParseID(repeated)
			if err != nil {
				t.Fatal(err)
			}
			failed := deadletters.NewFailedTasks(o.db, false)
			for range 2 {
				o.write(repeated, key)
				o.pass()
				o.write(repeated, key)
				o.pass()
				burial, err := failed.Bury(t.Context(), domain.FailedTask{Event: domain.Event{ID: id, Type: "test:a"}, Attempt: 1}, false)
				if err != nil || burial != domain.Buried {
					t.Fatalf("burial %v: %v", burial, err)
				}
				addsUp(t, o.db)
			}
			o.end()
		})
	}
}
