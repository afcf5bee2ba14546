package confirm_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/confirm"
	"outboxd/repository/postgres"
	"outboxd/repository/repositorytest"
)

// run is a database with events of one ordering key. A relay has handed over the first of them, head.
type run struct {
	t     *testing.T
	db    *postgres.Database
	store *repository.Outbox
	head  domain.ID
}

func newRun(t *testing.T, events int) *run {
	t.Helper()
	r := &run{t: t, db: schematest.Open(t)}
	r.store = repository.NewOutbox(r.db, repository.OutboxOptions{History: true})
	exec(t, r.db, "CREATE TABLE effects (place serial, n text)")
	exec(t, r.db, "UPDATE outbox_queue_identity SET history_seconds = 3600, history_since = now()")
	for n := range events {
		exec(t, r.db, "SELECT outboxd.emit('t', to_jsonb($1::integer), headers => '{\"a\": \"b\"}', ordering_key => 'k')", n+1)
	}
	if went := relayAll(t, r.store); went != "t" {
		t.Fatalf("%q went", went)
	}
	if err := r.db.SQL().QueryRowContext(t.Context(), "SELECT event_id FROM outbox_turns").Scan(&r.head); err != nil {
		t.Fatal(err)
	}
	return r
}

// process lets the first event and those that follow take effect, and returns the payloads of those
// that follow. Between the effects and the commit it calls the parameter also.
func (r *run) process(most int, also func() error) (followers string, err error) {
	_, err = confirm.NewInbox(r.db).ProcessAll(r.t.Context(), []domain.ID{r.head}, func(ctx context.Context, tx domain.Effects, first []domain.ID) error {
		list, err := tx.(domain.Followers).Follow(ctx, first, "t", "default", most)
		if err != nil {
			return err
		}
		var went []string
		for _, f := range list {
			went = append(went, string(f.Payload))
			if f.Owner != r.head || f.Headers["a"] != "b" {
				r.t.Errorf("a follower is %+v", f)
			}
		}
		followers = strings.Join(went, " ")
		for _, n := range append([]string{"1"}, went...) {
			if _, err := tx.Tx().ExecContext(ctx, "INSERT INTO effects (n) VALUES ($1)", n); err != nil {
				return err
			}
		}
		if also == nil {
			return nil
		}
		return also()
	})
	return followers, err
}

// The next events of a key take effect with the first one, or not at all.
func TestTheNextEventsOfAKeyFollow(t *testing.T) {
	t.Parallel()
	r := newRun(t, 5)
	failure := errors.New("not now")
	if went, err := r.process(10, func() error { return failure }); went != "2 3 4 5" || !errors.Is(err, failure) {
		t.Fatalf("%q followed, %v", went, err)
	}
	if n := count(t, r.db, "SELECT (SELECT count(*) FROM outbox_held) - (SELECT count(*) FROM inbox) - (SELECT count(*) FROM effects)"); n != 4 {
		t.Error("a batch that failed left something behind")
	}
	if went, err := r.process(2, nil); went != "2 3" || err != nil {
		t.Fatalf("%q followed, %v", went, err)
	}
	if n := count(t, r.db, "SELECT count(*) FROM outbox_sent s JOIN inbox i ON i.event_id = s.id WHERE s.split = 'done'"); n != 3 {
		t.Errorf("%d events are confirmed, want 3", n)
	}
	if went := relayAll(t, r.store); went != "t" {
		t.Errorf("then %q went", went)
	}
	if err := r.db.SQL().QueryRowContext(t.Context(), "SELECT event_id FROM outbox_turns").Scan(&r.head); err != nil {
		t.Fatal(err)
	}
	if went, err := r.process(10, nil); went != "5" || err != nil {
		t.Fatalf("%q followed, %v", went, err)
	}
	if n := count(t, r.db, "SELECT (SELECT count(*) FROM outbox_held) + (SELECT count(*) FROM outbox_turns) + (SELECT count(*) FROM outbox)"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	if n := count(t, r.db, "SELECT count(*) FROM inbox"); n != 5 {
		t.Errorf("%d events took effect, want 5", n)
	}
	repositorytest.Balance(t, r.db)
}

// A run ends before the first event that may not follow.
func TestWhereARunEnds(t *testing.T) {
	t.Parallel()
	const third = "(SELECT id FROM outbox_held ORDER BY ordering_position OFFSET 1 LIMIT 1)"
	for name, statement := range map[string]string{
		"another type":                    "UPDATE outbox_held SET event_type = 'u' WHERE id = " + third,
		"another queue":                   "UPDATE outbox_held SET queue = 'low' WHERE id = " + third,
		"not yet due":                     "SELECT outboxd.reschedule(" + third + ", now() + interval '1 hour')",
		"a deadline":                      "UPDATE outbox_held SET deadline = now() + interval '1 hour' WHERE id = " + third,
		"a timeout":                       "UPDATE outbox_held SET timeout_seconds = 1 WHERE id = " + third,
		"retention":                       "UPDATE outbox_held SET retention_seconds = 1 WHERE id = " + third,
		"unique":                          "UPDATE outbox_held SET unique_seconds = 1 WHERE id = " + third,
		"a replay":                        "UPDATE outbox_held SET generation = 1 WHERE id = " + third,
		"it was written again":            "INSERT INTO outbox (id, event_type, payload, ordering_key) SELECT id, event_type, payload, ordering_key FROM outbox_held WHERE id = " + third,
		"an earlier one is in the outbox": "INSERT INTO outbox (event_type, payload, ordering_key, ordering_position) SELECT 't', '0', 'k', ordering_position FROM outbox_held WHERE id = " + third + "; UPDATE outbox_held SET ordering_position = ordering_position + 1 WHERE ordering_position >= (SELECT ordering_position FROM outbox_held WHERE id = " + third + ")",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, 4)
			for statement := range strings.SplitSeq(statement, "; ") {
				exec(t, r.db, statement)
			}
			if went, err := r.process(10, nil); went != "2" || err != nil {
				t.Errorf("%q followed, %v", went, err)
			}
		})
	}
	for name, statement := range map[string]string{
		"no history":                 "UPDATE outbox_queue_identity SET history_seconds = 0",
		"PostgreSQL went back":       "UPDATE outbox_queue_identity SET went_back_at = now()",
		"PostgreSQL went back later": "UPDATE outbox_queue_identity SET went_back_at = now() - interval '2 hours'; UPDATE outbox_held SET created_at = now() - interval '3 hours'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, 3)
			for statement := range strings.SplitSeq(statement, "; ") {
				exec(t, r.db, statement)
			}
			if went, err := r.process(10, nil); went != "" || err != nil {
				t.Errorf("%q followed, %v", went, err)
			}
		})
	}
	// Events that were emitted after PostgreSQL went back have no task from the state that was lost.
	t.Run("PostgreSQL went back long ago", func(t *testing.T) {
		t.Parallel()
		r := newRun(t, 3)
		exec(t, r.db, "UPDATE outbox_queue_identity SET went_back_at = now() - interval '2 hours'")
		exec(t, r.db, "UPDATE outbox_held SET created_at = now() - interval '3 hours' WHERE id = "+third)
		if went, err := r.process(10, nil); went != "2" || err != nil {
			t.Errorf("%q followed, %v", went, err)
		}
	})
	t.Run("taken back", func(t *testing.T) {
		t.Parallel()
		r := newRun(t, 4)
		exec(t, r.db, "SELECT outboxd.cancel("+third+")")
		if went, err := r.process(10, nil); went != "2 4" || err != nil {
			t.Errorf("%q followed, %v", went, err)
		}
	})
}

// While a handler works on a run, a relay claims, holds and advances events of the same
// key, and cancel answers. No transaction waits until the handler has ended, and no event
// goes early.
func TestNobodyWaitsForARun(t *testing.T) {
	t.Parallel()
	r := newRun(t, 3)
	var last domain.ID
	if err := r.db.SQL().QueryRowContext(t.Context(), "SELECT id FROM outbox_held ORDER BY ordering_position DESC LIMIT 1").Scan(&last); err != nil {
		t.Fatal(err)
	}
	went, err := r.process(10, func() error {
		exec(t, r.db, "SELECT outboxd.emit('t', '4', ordering_key => 'k')")
		if early := relayAll(t, r.store); early != "" {
			t.Errorf("%q went while the run was under way", early)
		}
		if n := count(t, r.db, "SELECT outbox_advance(ARRAY['k'])"); n != 0 {
			t.Errorf("%d keys advanced while the run was under way", n)
		}
		var answer string
		if err := r.db.SQL().QueryRowContext(t.Context(), "SELECT outboxd.cancel($1)", last).Scan(&answer); err != nil || answer != "busy" {
			return fmt.Errorf("cancel answers %q, %w", answer, err)
		}
		return nil
	})
	if went != "2 3" || err != nil {
		t.Fatalf("%q followed, %v", went, err)
	}
	if next := relayAll(t, r.store); next != "t" {
		t.Errorf("behind the run %q went", next)
	}
	var answer string
	if err := r.db.SQL().QueryRowContext(t.Context(), "SELECT outboxd.cancel($1)", last).Scan(&answer); err != nil || answer != "confirmed" {
		t.Errorf("cancel answers %q, %v", answer, err)
	}
}
