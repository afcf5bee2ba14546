package repository_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/repositorytest"
)

// alone lets the first event of the key take effect by itself, and returns what it
// leaves to the next one.
func (r *run) alone() domain.HandOver {
	r.t.Helper()
	next := domain.HandOver{Type: "t", Queue: "default"}
	first, err := repository.NewInbox(r.db).Process(r.t.Context(), r.head, func(ctx context.Context, tx domain.Effects) error {
		return r.effect(ctx, tx, "1", &next)
	})
	if err != nil || !first {
		r.t.Fatalf("the first event takes effect: %v, %v", first, err)
	}
	return next
}

func (r *run) effect(ctx context.Context, tx domain.Effects, n string, next *domain.HandOver) error {
	if _, err := tx.Tx().ExecContext(ctx, "INSERT INTO effects (n) VALUES ($1)", n); err != nil {
		return err
	}
	if next != nil {
		tx.(domain.Runs).HandOver(next)
	}
	return nil
}

// goOn lets the event that was kept back take effect, and returns its payload; "" if it
// does not follow. also runs before the effect.
func (r *run) goOn(next *domain.HandOver, further bool, also func() error) (payload string, err error) {
	r.t.Helper()
	first, err := repository.NewInbox(r.db).FollowOn(r.t.Context(), next.Next, next, func(ctx context.Context, tx domain.Effects, event domain.Follower) error {
		payload = string(event.Payload)
		if event.Headers["a"] != "b" {
			r.t.Errorf("a follower is %+v", event)
		}
		if also != nil {
			if err := also(); err != nil {
				return err
			}
		}
		if further {
			return r.effect(ctx, tx, payload, next)
		}
		return r.effect(ctx, tx, payload, nil)
	})
	if first != (payload != "" && err == nil) {
		r.t.Errorf("took effect: %v, payload %q, %v", first, payload, err)
	}
	return payload, err
}

func (r *run) effects() string {
	r.t.Helper()
	var list string
	if err := r.db.SQL().QueryRowContext(r.t.Context(), "SELECT coalesce(string_agg(n, ' ' ORDER BY place), '') FROM effects").Scan(&list); err != nil {
		r.t.Fatal(err)
	}
	return list
}

// Each event of a key takes effect in a transaction of its own, and only the first has
// gone through the outbox. One that fails goes its usual way.
func TestAWorkerGoesAlongAKey(t *testing.T) {
	t.Parallel()
	r := newRun(t, 5)
	next := r.alone()
	if next.Key != "k" || next.Next == (domain.ID{}) {
		t.Fatalf("the first event leaves %+v", next)
	}
	if went := relayAll(t, r.store); went != "" {
		t.Fatalf("%q went, although it is kept back", went)
	}
	if n, err := r.goOn(&next, true, nil); n != "2" || err != nil {
		t.Fatalf("%q follows, %v", n, err)
	}
	kept, failure := next, errors.New("not now")
	if n, err := r.goOn(&next, true, func() error { return failure }); n != "3" || !errors.Is(err, failure) || next.Next != (domain.ID{}) {
		t.Fatalf("%q follows, %v, and leaves %+v", n, err, next)
	}
	if n, err := r.goOn(&kept, false, nil); n != "3" || err != nil || kept.Next != (domain.ID{}) {
		t.Fatalf("once more: %q follows, %v, and leaves %+v", n, err, kept)
	}
	if went, effects := relayAll(t, r.store), r.effects(); went != "t" || effects != "1 2 3" {
		t.Fatalf("at the end of the run %q went, after the effects %s", went, effects)
	}
	if n := count(t, r.db, "SELECT count(*) FROM outbox_sent s JOIN inbox i ON i.event_id = s.id WHERE s.split = 'done'"); n != 3 {
		t.Errorf("%d events are confirmed, want 3", n)
	}
	repositorytest.Balance(t, r.db)
}

// A worker that goes no further lets the next event go, and so does the leader if the
// worker has died.
func TestWhatIsKeptBackIsLetGo(t *testing.T) {
	t.Parallel()
	r := newRun(t, 3)
	next := r.alone()
	if err := repository.NewInbox(r.db).LetGo(t.Context(), next.Key); err != nil {
		t.Fatal(err)
	}
	if went := relayAll(t, r.store); went != "t" {
		t.Errorf("%q went", went)
	}
	if n, err := r.goOn(&next, true, nil); n != "" || err != nil {
		t.Errorf("%q follows although it went, %v", n, err)
	}
}

// What speaks against an event is asked when it is kept back, and once more when it is
// to take effect.
func TestWhatMayNotBeKeptBack(t *testing.T) {
	t.Parallel()
	const second = "(SELECT id FROM outbox_held ORDER BY ordering_position LIMIT 1)"
	for name, statement := range map[string]string{
		"another type":         "UPDATE outbox_held SET event_type = 'u' WHERE id = " + second,
		"another queue":        "UPDATE outbox_held SET queue = 'low' WHERE id = " + second,
		"not yet due":          "SELECT outboxd.reschedule(" + second + ", now() + interval '1 hour')",
		"a timeout":            "UPDATE outbox_held SET timeout_seconds = 1 WHERE id = " + second,
		"it was written again": "INSERT INTO outbox (id, event_type, payload, ordering_key) SELECT id, event_type, payload, ordering_key FROM outbox_held WHERE id = " + second,
		"no history":           "UPDATE outbox_queue_identity SET history_seconds = 0",
		"PostgreSQL went back": "UPDATE outbox_queue_identity SET went_back_at = now() - interval '2 hours'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, after := newRun(t, 3), newRun(t, 3)
			exec(t, before.db, statement)
			if next := before.alone(); next.Next != (domain.ID{}) {
				t.Error("it is kept back")
			}
			if strings.Contains(statement, "'low'") || strings.Contains(statement, "'u'") {
				return // and nobody changes that afterwards
			}
			next := after.alone()
			exec(t, after.db, statement)
			if n, err := after.goOn(&next, true, nil); n != "" || err != nil {
				t.Errorf("%q follows, %v", n, err)
			}
		})
	}
}

// While a worker is at an event that was kept back, nobody waits for it, and no event
// of the key goes early.
func TestNobodyWaitsForAWorkerOnItsWay(t *testing.T) {
	t.Parallel()
	r := newRun(t, 3)
	next := r.alone()
	if n, err := r.goOn(&next, true, func() error {
		exec(t, r.db, "SELECT outboxd.emit('t', '4', headers => '{\"a\": \"b\"}', ordering_key => 'k')")
		if early := relayAll(t, r.store); early != "" {
			t.Errorf("%q went early", early)
		}
		if n := count(t, r.db, "SELECT outbox_advance(ARRAY['k'])"); n != 0 {
			t.Errorf("%d keys advanced", n)
		}
		return nil
	}); n != "2" || err != nil {
		t.Fatalf("%q follows, %v", n, err)
	}
	for _, want := range []string{"3", "4"} {
		if n, err := r.goOn(&next, true, nil); n != want || err != nil {
			t.Fatalf("%q follows, %v, want %s", n, err, want)
		}
	}
	if next.Next != (domain.ID{}) {
		t.Errorf("the last leaves %+v", next)
	}
	if n := count(t, r.db, "SELECT (SELECT count(*) FROM outbox_held) + (SELECT count(*) FROM outbox_turns) + (SELECT count(*) FROM outbox)"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	repositorytest.Balance(t, r.db)
}
