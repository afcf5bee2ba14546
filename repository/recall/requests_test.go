package recall_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/repository/confirm"
	rt "outboxd/repository/repositorytest"
)

// The method due returns the year to which an event was moved.
func (q *queued) due(id domain.ID) string {
	q.t.Helper()
	return answer(q.t, q.db.SQL(), "SELECT to_char(available_at AT TIME ZONE 'UTC', 'YYYY') FROM outbox WHERE id = $1", id.String())
}

// A request that waits does not undo what a person did after it, not even if the person's
// transaction is still open when the leader begins.
func TestALaterChangeCountsMoreThanARequestThatWaits(t *testing.T) {
	t.Parallel()
	q := newQueued(t)
	rt.Exec(t, q.db, "SELECT outboxd.emit('mail', to_jsonb(n)) FROM generate_series(1, 3) AS n")
	ids := q.relay()
	rt.Exec(t, q.db, "SELECT outboxd.reschedule($1, '2200-01-01 12:00+00')", ids[0])
	rt.Exec(t, q.db, "SELECT outboxd.cancel($1)", ids[1])
	rt.Exec(t, q.db, "SELECT outboxd.reschedule($1, '2200-01-01 12:00+00')", ids[2])
	later := time.Date(2300, 1, 1, 12, 0, 0, 0, time.UTC)
	changes, err := q.changes.Reschedule(t.Context(), &domain.Action{Actor: "ada"}, ids[:2], later)
	if err != nil || changes[0].Answer != domain.ChangeRescheduled || changes[1].Answer != domain.ChangeRescheduled {
		t.Fatalf("%v, %v", changes, err)
	}
	open, err := q.db.SQL().Begin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = open.Rollback() })
	if got := answer(t, open, "SELECT outbox_reschedule($1, $2, 'ada', '', true)", ids[2].String(), later); got != "rescheduled" {
		t.Fatalf("reschedule: %s", got)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			out, err := q.changes.CarryOut(t.Context(), domain.ID{}, 10, true)
			if err != nil || out.Queue != nil {
				t.Errorf("%v, %v", err, out.Queue)
				return
			}
			if len(out.Changes) == 0 {
				return
			}
			for _, a := range out.Changes { // the last event is busy if this machine is slow
				if a.Answer != domain.TooLateSuperseded && (a.Answer != domain.TooLateBusy || a.ID != ids[2]) {
					t.Errorf("the request for event %d: %s", slices.Index(ids, a.ID), a.Answer)
				}
			}
		}
	})
	rt.AwaitWaiting(t, q.db)
	if err := open.Commit(); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	for i, id := range ids {
		if got := q.due(id); got != "2300" {
			t.Errorf("event %d was moved to the year %s, want what came last", i, got)
		}
	}
	if n := rt.Count(t, q.db, "SELECT count(*) FROM outbox_requests"); n != 0 {
		t.Errorf("%d requests wait", n)
	}
	if n := rt.Count(t, q.db, "SELECT count(*) FROM outbox_journal WHERE entry = 'too late' AND detail LIKE '%superseded%'"); n != 3 {
		t.Errorf("%d timelines say why, want 3", n)
	}
	adds(t, q.db, 0)
}

// A person cancels an event before the leader carries out the producer's request for it.
// The timeline says why the event was not moved. A request to cancel has what it asked for.
func TestARequestForACancelledEvent(t *testing.T) {
	t.Parallel()
	q := newQueued(t)
	rt.Exec(t, q.db, "SELECT outboxd.emit('mail', to_jsonb(n)) FROM generate_series(1, 2) AS n")
	ids := q.relay()
	rt.Exec(t, q.db, "SELECT outboxd.reschedule($1, '2200-01-01 12:00+00')", ids[0])
	rt.Exec(t, q.db, "SELECT outboxd.cancel($1)", ids[1])
	if changes, err := q.changes.Cancel(t.Context(), &domain.Action{Actor: "ada"}, ids); err != nil || changes[0].Answer != domain.ChangeCancelled || changes[1].Answer != domain.ChangeCancelled {
		t.Fatalf("%v, %v", changes, err)
	}
	out, err := q.changes.CarryOut(t.Context(), domain.ID{}, 10, true)
	if err != nil || out.Queue != nil || len(out.Changes) != 2 || out.Changes[0].Answer != domain.ChangeCancelled || out.Changes[1].Answer != domain.ChangeCancelled {
		t.Fatalf("%+v, %v", out, err)
	}
	for i, want := range []string{
		"requested to be moved to 2200-01-01 12:00:00 UTC, by outboxd; cancelled by ada; too late not moved: cancelled, asked by outboxd",
		"requested to be cancelled, by outboxd; cancelled by ada",
	} {
		if got := q.journal(ids[i]); got != want {
			t.Errorf("the timeline of event %d: %q, want %q", i, got, want)
		}
	}
	if n := rt.Count(t, q.db, "SELECT count(*) FROM outbox_requests"); n != 0 {
		t.Errorf("%d requests wait", n)
	}
	adds(t, q.db, 2)
}

// While a move of an event to a later time is not committed, the event's task waits, and
// is then too early. If the database went back, an event may be in flight without the turn
// of its ordering key: its task waits too.
func TestATaskWaitsForAMoveOfItsEvent(t *testing.T) {
	t.Parallel()
	for what, prepare := range map[string]func(q *queued){
		"in flight": func(*queued) {},
		"in flight without the turn": func(q *queued) {
			rt.Exec(t, q.db, "DELETE FROM outbox_turns")
			rt.Exec(t, q.db, "UPDATE outbox_queue_identity SET went_back_at = now(), history_seconds = 3600")
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			q := newQueued(t)
			rt.Exec(t, q.db, "SELECT outboxd.emit('mail', '{}', ordering_key => 'k')")
			id := q.relay()[0]
			prepare(q)
			open, err := q.db.SQL().Begin()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = open.Rollback() })
			if got := answer(t, open, "SELECT outbox_reschedule($1, now() + interval '1 day', 'ada', '', true)", id.String()); got != "rescheduled" {
				t.Fatalf("reschedule: %s", got)
			}
			asked := make(chan error, 1)
			go func() {
				first, err := confirm.NewInbox(q.db).Ask(t.Context(), id)
				if first {
					err = errors.New("it may be sent")
				}
				asked <- err
			}()
			rt.AwaitWaiting(t, q.db)
			if err := open.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := <-asked; !errors.Is(err, domain.ErrTooEarly) {
				t.Errorf("its task before the new time: %v", err)
			}
			if n := rt.Count(t, q.db, "SELECT count(*) FROM inbox"); n != 0 {
				t.Errorf("%d rows are in the inbox", n)
			}
		})
	}
}

// A mail is moved to a later time, and its former task asks before that time. Nothing of the
// question is left in the inbox: the mail can be moved again, and is sent once.
func TestAMovedMailIsSentWhenItIsTime(t *testing.T) {
	t.Parallel()
	q := newQueued(t)
	rt.Exec(t, q.db, "SELECT outboxd.emit('mail', '{}')")
	id, inbox := q.relay()[0], confirm.NewInbox(q.db)
	move := func(to time.Time, want domain.ChangeAnswer) {
		t.Helper()
		changes, err := q.changes.Reschedule(t.Context(), &domain.Action{Actor: "ada"}, []domain.ID{id}, to)
		if err != nil || changes[0].Answer != want {
			t.Fatalf("%v, %v, want %s", changes, err, want)
		}
	}
	move(time.Now().Add(24*time.Hour), domain.ChangeRescheduled)
	q.take(id, "default")
	if first, err := inbox.Ask(t.Context(), id); first || !errors.Is(err, domain.ErrTooEarly) {
		t.Errorf("its former task may send it a day before: %t, %v", first, err)
	}
	if _, err := inbox.Process(t.Context(), id, func(context.Context, domain.Effects) error { return nil }); !errors.Is(err, domain.ErrTooEarly) {
		t.Errorf("it is confirmed a day before: %v", err)
	}
	if n := rt.Count(t, q.db, "SELECT count(*) FROM inbox"); n != 0 {
		t.Errorf("%d rows are in the inbox", n)
	}
	move(time.Now(), domain.TooLateRunning)
	q.redis.HSet(t.Context(), "asynq:{default}:t:"+id.String(), "state", "retry")
	move(time.Now(), domain.ChangeRescheduled)
	if sent := q.relay(); len(sent) != 1 || sent[0] != id {
		t.Fatalf("%v was sent when it was time", sent)
	}
	for _, want := range []bool{true, false} {
		if first, err := inbox.Ask(t.Context(), id); err != nil || first != want {
			t.Errorf("it may be sent: %t, %v, want %t", first, err, want)
		}
		if first, err := inbox.Process(t.Context(), id, func(context.Context, domain.Effects) error { return nil }); err != nil || first != want {
			t.Errorf("it is confirmed now: %t, %v, want %t", first, err, want)
		}
	}
	adds(t, q.db, 0)
}
