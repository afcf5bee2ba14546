package heal_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/lost"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
)

// The function confirmed calls outboxd.confirm and returns what it said: "first", "no effect" or
// "too early".
func confirmed(t *testing.T, db *postgres.Database, id string) string {
	t.Helper()
	var first bool
	err := db.SQL().QueryRowContext(t.Context(), "SELECT outboxd.confirm($1)", id).Scan(&first)
	switch {
	case err != nil && domain.ErrorCode(postgres.Translate(err, "confirm")) == domain.CodeConflict:
		return "too early"
	case err != nil:
		t.Fatal(err)
	case first:
		return "first"
	}
	return "no effect"
}

// confirmedAmongOthers does what the function confirmed does, by outboxd.confirm_many and
// together with another event.
func confirmedAmongOthers(t *testing.T, db *postgres.Database, id string) string {
	t.Helper()
	var answer, other string
	err := db.SQL().QueryRowContext(t.Context(), `WITH given AS (SELECT outboxd.emit('t', '{}') AS other)
		SELECT max(answer) FILTER (WHERE event_id = $1), max(answer) FILTER (WHERE event_id = other) FROM given, outboxd.confirm_many(ARRAY[$1::uuid, other])`, id).Scan(&answer, &other)
	if err != nil || other != "first" {
		t.Fatalf("the other event: %q, %v", other, err)
	}
	return map[string]string{"first": "first", "unknown": "no effect", "early": "too early"}[answer]
}

// An event is confirmed in a database that has gone back, and in one that has
// not.
func TestConfirmingInADatabaseThatWentBack(t *testing.T) {
	t.Parallel()
	const (
		unknown = "SELECT outbox_new_id()::text"
		foreign = "SELECT gen_random_uuid()::text"
		pending = "SELECT outboxd.emit('t', '{}')::text"
		early   = "SELECT outboxd.emit('t', '{}', ordering_key => 'k')::text"
		old     = "SELECT overlay(outbox_new_id()::text PLACING '0190' FROM 1)" // of 2024
	)
	for name, test := range map[string]struct {
		history time.Duration
		back    bool
		event   string
		want    string
	}{
		"well":                     {time.Hour, false, unknown, "first"},
		"an unknown event":         {time.Hour, true, unknown, "no effect"},
		"no history":               {0, true, unknown, "first"},
		"older than the history":   {time.Hour, true, old, "first"},
		"an ID that tells no time": {time.Hour, true, foreign, "first"},
		"pending":                  {time.Hour, true, pending, "first"},
		"a key and no turn":        {time.Hour, true, early, "too early"},
		"a key and no turn, well":  {time.Hour, false, early, "first"},
	} {
		for _, many := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, many: %t", name, many), func(t *testing.T) {
				t.Parallel()
				db := schematest.Open(t)
				memory := heal.NewQueueMemory(db)
				is, err := memory.Database(t.Context())
				if err != nil || is.SystemID == "" || len(is.Timeline) != 8 {
					t.Fatalf("this database is %+v, %v", is, err)
				}
				if err := memory.RememberDatabase(t.Context(), is, test.history); err != nil {
					t.Fatal(err)
				}
				exec(t, db, "UPDATE outbox_queue_identity SET history_since = history_since - interval '2 hours'")
				if test.back {
					if err := memory.Doubt(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				var id string
				if err := db.SQL().QueryRowContext(t.Context(), test.event).Scan(&id); err != nil {
					t.Fatal(err)
				}
				ask := confirmed
				if many {
					ask = confirmedAmongOthers
				}
				if got := ask(t, db, id); got != test.want {
					t.Errorf("%q, want %q", got, test.want)
				}
				noted := map[bool]int{true: 1}[test.want == "no effect"]
				if n := count(t, db, "SELECT count(*) FROM outbox_journal WHERE entry = 'unknown'"); n != noted {
					t.Errorf("%d entries in the journal, want %d", n, noted)
				}
			})
		}
	}
}

// A leader that stops may lead again later, and must still notice that the database went
// back.
func TestAQuestionThatWasGivenUpIsAskedAgain(t *testing.T) {
	t.Parallel()
	memory := heal.NewQueueMemory(schematest.Open(t))
	ended, end := context.WithCancel(t.Context())
	end()
	if is, err := memory.Database(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("in a context that ended: %+v, %v", is, err)
	}
	if is, err := memory.Database(t.Context()); err != nil || is.SystemID == "" || is.Timeline == "" {
		t.Errorf("this database is %+v, %v", is, err)
	}
}

// Another timeline than the remembered one is doubt enough, before any relay has looked.
func TestAnotherTimelineIsDoubt(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, "UPDATE outbox_queue_identity SET timeline = '000000FE', history_seconds = 3600, history_since = now() - interval '1 hour'")
	var id string
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT outbox_new_id()::text").Scan(&id); err != nil {
		t.Fatal(err)
	}
	if got := confirmed(t, db, id); got != "no effect" {
		t.Errorf("%q", got)
	}
}

// A session that found nothing in doubt a moment ago has heard of a doubt when Doubt
// returns.
func TestEverySessionHearsOfADoubt(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	memory := heal.NewQueueMemory(db)
	if err := memory.RememberDatabase(t.Context(), lost.DatabaseIdentity{}, time.Hour); err != nil {
		t.Fatal(err)
	}
	exec(t, db, "UPDATE outbox_queue_identity SET history_since = history_since - interval '2 hours'")
	session, err := db.SQL().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	confirm := func() (first, sure bool) {
		t.Helper()
		err := session.QueryRowContext(t.Context(), "SELECT outboxd.confirm(outbox_new_id()), coalesce(current_setting('outboxd.sure_at', true), '') <> ''").Scan(&first, &sure)
		if err != nil {
			t.Fatal(err)
		}
		return first, sure
	}
	if first, sure := confirm(); !first || !sure {
		t.Fatalf("before: took effect %t, sure %t", first, sure)
	}
	if err := memory.Doubt(t.Context()); err != nil {
		t.Fatal(err)
	}
	if first, _ := confirm(); first {
		t.Error("an unknown event took effect after the doubt")
	}
	// After the history of that time has ended, events are no longer looked up one
	// by one.
	exec(t, db, "UPDATE outbox_queue_identity SET went_back_at = went_back_at - interval '62 minutes'")
	if _, err := session.ExecContext(t.Context(), "SET outboxd.sure_at = ''"); err != nil {
		t.Fatal(err)
	}
	if first, sure := confirm(); !first || !sure {
		t.Errorf("after the history: took effect %t, sure %t", first, sure)
	}
}

// A transaction with an old snapshot does not see a doubt, and so must not make its session sure.
func TestAnOldSnapshotMakesNoSessionSure(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	session, err := db.SQL().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	tx, err := session.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	var sure string
	if err := tx.QueryRowContext(t.Context(), "SELECT coalesce(current_setting('outboxd.sure_at', true), '') FROM outboxd.confirm(outbox_new_id())").Scan(&sure); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if sure != "" {
		t.Errorf("the session is sure at %s", sure)
	}
}
