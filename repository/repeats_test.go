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
	nextID   = "33333333-0000-7000-8000-000000000003"
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

// confirm is a consumer's transaction. Confirming an event again changes
// nothing.
func (o *ordering) confirm(id string) {
	o.t.Helper()
	exec(o.t, o.db, "SELECT outboxd.confirm($1)", id)
}

func (o *ordering) tidy() {
	o.t.Helper()
	if _, _, _, err := upkeep.NewHousekeeping(o.db, "").AdvanceKeys(o.t.Context(), "", 1000, true); err != nil {
		o.t.Fatal(err)
	}
}

// end relays and confirms everything. Then nothing may wait, be held or have a turn, and the
// account must add up.
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

// A producer repeats an event that is held, has the turn, was confirmed, died or was lost,
// with the same ordering key, another one and none.
func TestAnEventThatIsWrittenTwiceCountsOnce(t *testing.T) {
	t.Parallel()
	for place, repeat := range map[string]func(o *ordering, key any){
		"held": func(o *ordering, key any) {
			o.hold(repeated)
			o.write(repeated, key)
			o.pass()
			o.confirm(firstID)
		},
		"held, and not claimed before the turn": func(o *ordering, key any) {
			o.hold(repeated)
			o.write(repeated, key)
			o.confirm(firstID)
			o.end()
			if n := count(o.t, o.db, "SELECT count(*) FROM outbox_sent WHERE id = $1", repeated); n != 1 {
				o.t.Errorf("it was sent %d times", n)
			}
		},
		"held, and being claimed at the turn": func(o *ordering, key any) {
			o.hold(repeated)
			o.write(repeated, key)
			tx := repository.Begin(o.t.Context(), o.db)
			defer tx.Rollback()
			if err := tx.Exec("DELETE FROM outbox WHERE id = ?", repeated).Error; err != nil {
				o.t.Fatal(err)
			}
			o.confirm(firstID) // must not wait
		},
		"with the turn": func(o *ordering, key any) {
			o.write(repeated, "o-1")
			o.pass()
			o.write(repeated, key)
			o.pass()
			o.tidy()
			o.confirm(repeated)
		},
		"confirmed": func(o *ordering, key any) {
			o.write(repeated, "o-1")
			o.pass()
			o.confirm(repeated)
			o.write(repeated, key)
		},
		"dead":                   (*ordering).dieTwice,
		"lost by the queue":      (*ordering).loseTwice,
		"given up by the worker": (*ordering).buryTwice,
	} {
		for name, key := range map[string]any{"the same key": "o-1", "another key": "o-2", "no key": nil} {
			t.Run(place+", "+name, func(t *testing.T) {
				t.Parallel()
				o := newOrdering(t)
				repeat(o, key)
				o.end()
			})
		}
	}
}

// hold writes an event whose key already has an event in flight, so that a relay holds it.
func (o *ordering) hold(id string) {
	o.t.Helper()
	o.write(firstID, "o-1")
	o.pass()
	o.write(id, "o-1")
	o.pass()
}

func (o *ordering) dieTwice(key any) {
	for range 2 {
		o.write(repeated, key)
		batch := claim(o.t, o.store, 10)
		for len(batch.Events()) == 0 && batch.Held() > 0 {
			batch = claim(o.t, o.store, 10)
		}
		if len(batch.Events()) != 1 {
			o.t.Fatalf("%d events", len(batch.Events()))
		}
		if err := batch.Commit(o.t.Context(), []domain.Outcome{{Verdict: domain.Dead}}); err != nil {
			o.t.Fatal(err)
		}
	}
	o.end()
	if n := count(o.t, o.db, "SELECT count(*) FROM outbox_dead"); n != 1 {
		o.t.Errorf("%d dead letters", n)
	}
}

func (o *ordering) loseTwice(key any) {
	o.write(repeated, key)
	o.pass()
	o.write(repeated, key)
	o.pass()
	o.write(repeated, key)
	if _, err := heal.NewRedriver(o.db).Redrive(o.t.Context(), 1<<40); err != nil {
		o.t.Fatal(err)
	}
	addsUp(o.t, o.db)
}

func (o *ordering) buryTwice(key any) {
	id, err := domain.ParseID(repeated)
	if err != nil {
		o.t.Fatal(err)
	}
	failed := deadletters.NewFailedTasks(o.db, false)
	for range 2 {
		o.write(repeated, key)
		o.pass()
		o.write(repeated, key)
		o.pass()
		burial, err := failed.Bury(o.t.Context(), domain.FailedTask{Event: domain.Event{ID: id, Type: "test:a"}, Attempt: 1}, false)
		if err != nil || burial != domain.Buried {
			o.t.Fatalf("burial %v: %v", burial, err)
		}
		addsUp(o.t, o.db)
	}
}

// An event without a key is in flight when its producer writes it once more, with a key whose turn another event has. The repeat
// waits, and the event takes effect all the same.
func TestARepeatThatWaitsHoldsUpNoEventInFlight(t *testing.T) {
	t.Parallel()
	o := newOrdering(t)
	o.write(repeated, nil)
	o.write(firstID, "k")
	o.pass()
	o.write(repeated, "k")
	o.pass()
	if n := count(t, o.db, "SELECT count(*) FROM outbox_held"); n != 1 {
		t.Fatalf("%d events are held, want the repeat", n)
	}
	o.confirm(repeated)
	if n := count(t, o.db, "SELECT count(*) FROM inbox WHERE event_id = $1", repeated); n != 1 {
		t.Error("the event is not confirmed")
	}
	o.end()
}
