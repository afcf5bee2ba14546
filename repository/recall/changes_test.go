package recall_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/audit"
	"outboxd/domain/lives"
	"outboxd/repository"
	"outboxd/repository/postgres"
	"outboxd/repository/recall"
	rt "outboxd/repository/repositorytest"
	"outboxd/repository/search"
	"outboxd/repository/upkeep"
)

// answer returns the text that a statement returns, such as a service's call of cancel.
func answer(t *testing.T, db interface {
	QueryRow(query string, args ...any) *sql.Row
}, statement string, args ...any,
) string {
	t.Helper()
	var text string
	if err := db.QueryRow(statement, args...).Scan(&text); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return text
}

func cancel(t *testing.T, db *postgres.Database, id domain.ID) string {
	t.Helper()
	return answer(t, db.SQL(), "SELECT outboxd.cancel($1)", id.String())
}

// The function adds fails the test unless the account adds up and has this many cancelled events.
func adds(t *testing.T, db *postgres.Database, cancelled int64) {
	t.Helper()
	auditor := search.NewAuditor(db)
	lines, err := auditor.Account(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var sum audit.AccountLine
	for i := range lines {
		sum.Add(&lines[i])
	}
	if sum.Difference() != 0 || sum.Cancelled != cancelled {
		t.Errorf("the account has a difference of %d and %d cancelled events, want 0 and %d: %+v", sum.Difference(), sum.Cancelled, cancelled, sum)
	}
	violations, err := auditor.Violations(t.Context(), lines, 10)
	if err != nil || len(violations) > 0 {
		t.Errorf("violations: %v, %v", violations, err)
	}
}

// An event can be cancelled wherever it waits, but not once it took effect or is
// dead.
func TestAnEventIsTakenBackWhereverItWaits(t *testing.T) {
	t.Parallel()
	db, store := rt.Outbox(t)
	rt.Exec(t, db, "SELECT outboxd.emit(name, '{}') FROM unnest(ARRAY['flying', 'done', 'dead']) AS name")
	rt.RelayAll(t, store)
	rt.Confirm(t, db, "done")
	rt.Exec(t, db, `WITH gone AS (DELETE FROM outbox_sent WHERE event_type = 'dead' RETURNING *)
		INSERT INTO outbox_dead (id, event_type, payload, headers, queue, attempts, generation, created_at, available_at, stage, error)
		SELECT id, event_type, payload, headers, queue, attempts, generation, created_at, available_at, 'relay', 'no' FROM gone`)
	rt.EmitKeyed(t, db, "k1", "k2")
	rt.RelayAll(t, store)
	rt.Exec(t, db, "SELECT outboxd.emit('waiting', '{}'), outboxd.emit('delayed', '{}', available_at => now() + interval '1 day')")

	for name, want := range map[string]string{
		"waiting": "cancelled", "delayed": "cancelled", "k2": "cancelled", "flying": "cancelled", "done": "confirmed", "dead": "dead",
	} {
		id := rt.Find(t, db, name)
		for range 2 { // asking twice is no harm
			if got := cancel(t, db, id); got != want {
				t.Errorf("cancel(%s) is %q, want %q", name, got, want)
			}
		}
		var first bool
		if err := db.SQL().QueryRow("SELECT outboxd.confirm($1)", id).Scan(&first); err != nil || first && want == "cancelled" {
			t.Errorf("the event %s was %s and takes effect: %v", name, want, err)
		}
		life, err := search.NewLives(db).Find(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if want == "cancelled" && (life.State != lives.StateCancelled || len(life.Journal) != 1 || life.Journal[0].Entry != "cancelled" || life.Cancelled == "") {
			t.Errorf("the life of %s: %+v", name, life)
		}
	}
	if got := cancel(t, db, domain.ID{7}); got != "unknown" {
		t.Errorf("cancel(an ID of nothing) is %q, want unknown", got)
	}
	if again := rt.RelayAll(t, store); again != "" {
		t.Errorf("cancelled events were relayed: %s", again)
	}
	adds(t, db, 4)
	page, err := search.NewLives(db).Search(t.Context(), lives.Filter{State: lives.StateCancelled}, domain.ID{}, 10)
	if err != nil || len(page.Events) != 4 {
		t.Errorf("a search for cancelled events finds %d of 4, %v", len(page.Events), err)
	}
}

// A cancellation in a transaction counts from the transaction's commit.
func TestACancellationIsAsGoodAsItsTransaction(t *testing.T) {
	t.Parallel()
	db, store := rt.Outbox(t)
	tx, err := db.SQL().Begin()
	if err != nil {
		t.Fatal(err)
	}
	var id string
	if err := tx.QueryRow("SELECT outboxd.emit('own', '{}')").Scan(&id); err != nil {
		t.Fatal(err)
	}
	if got := answer(t, tx, "SELECT outboxd.cancel($1, 'changed my mind')", id); got != "cancelled" {
		t.Errorf("cancel of an event of the same transaction: %s", got)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	rt.Emit(t, db, 1)
	one := rt.Find(t, db, "test:1")
	tx, err = db.SQL().Begin()
	if err != nil {
		t.Fatal(err)
	}
	if got := answer(t, tx, "SELECT outboxd.cancel($1)", one); got != "cancelled" {
		t.Errorf("cancel: %s", got)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if went := rt.RelayAll(t, store); went != "test:1" {
		t.Errorf("%q went, want what was cancelled and rolled back", went)
	}
	adds(t, db, 1)
}

// A transaction that is working on an event goes first, and a cancellation
// waits for it only briefly.
func TestACancellationDoesNotWaitForAHandlerNorForAClaim(t *testing.T) {
	t.Parallel()
	db, store := rt.Outbox(t)
	rt.Emit(t, db, 1)
	id := rt.Find(t, db, "test:1")
	batch := rt.ClaimEvents(t, store)
	if got := cancel(t, db, id); got != "busy" {
		t.Errorf("cancel while the event is claimed: %s, want busy", got)
	}
	rt.Deliver(t, batch)

	handler, err := db.SQL().Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := handler.Exec("SELECT outboxd.confirm($1)", id); err != nil {
		t.Fatal(err)
	}
	if got := cancel(t, db, id); got != "running" {
		t.Errorf("cancel while the handler is at it: %s, want running", got)
	}
	if err := handler.Rollback(); err != nil {
		t.Fatal(err)
	}
	if got := cancel(t, db, id); got != "cancelled" {
		t.Errorf("cancel after the handler failed: %s, want cancelled", got)
	}
	adds(t, db, 1)
}

// The events of the key behind a cancelled one go on.
func TestTheTurnOfACancelledEventGoesOn(t *testing.T) {
	t.Parallel()
	for what, prepare := range map[string]func(t *testing.T, db *postgres.Database, store *repository.Outbox){
		"in flight": func(t *testing.T, db *postgres.Database, store *repository.Outbox) {
			rt.EmitKeyed(t, db, "k1", "k2", "k3")
			rt.RelayAll(t, store)
		},
		"delayed": func(t *testing.T, db *postgres.Database, store *repository.Outbox) {
			rt.Exec(t, db, "SELECT outboxd.emit('k1', '{}', ordering_key => 'k', available_at => now() + interval '1 day')")
			rt.EmitKeyed(t, db, "k2", "k3")
			rt.RelayAll(t, store)
		},
		"pending with the turn": func(t *testing.T, db *postgres.Database, store *repository.Outbox) {
			rt.EmitKeyed(t, db, "k0", "k1", "k2", "k3")
			rt.RelayAll(t, store)
			rt.Confirm(t, db, "k0")
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			db, store := rt.Outbox(t)
			prepare(t, db, store)
			if got := cancel(t, db, rt.Find(t, db, "k1")); got != "cancelled" {
				t.Fatalf("cancel: %s", got)
			}
			if went := rt.RelayAll(t, store); went != "k2" {
				t.Errorf("after k1 was cancelled %q went, want k2", went)
			}
			if got := cancel(t, db, rt.Find(t, db, "k3")); got != "cancelled" {
				t.Errorf("cancel of a held event: %s", got)
			}
			rt.Confirm(t, db, "k2")
			if n := rt.Count(t, db, "SELECT count(*) FROM outbox_turns"); n != 0 {
				t.Error("the key has a turn and no event")
			}
			adds(t, db, 2)
		})
	}
}

// An event of an unconfirmed type is not checked before its effect. So it cannot
// be cancelled any more once it may have been handed over.
func TestWhatNobodyConfirmsIsTakenBackBeforeItIsDueOnly(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	if err := upkeep.NewHousekeeping(db, "").SayUnconfirmed(t.Context(), []string{"log"}, nil); err != nil {
		t.Fatal(err)
	}
	rt.Exec(t, db, "SELECT outboxd.emit('log', '{}', queue => 'now'), outboxd.emit('log', '{}', queue => 'later', available_at => now() + interval '1 hour')")
	for queue, want := range map[string]string{"now": "in flight", "later": "cancelled"} {
		if got := answer(t, db.SQL(), "SELECT outboxd.cancel(id) FROM outbox WHERE queue = $1", queue); got != want {
			t.Errorf("cancel of the event that is due %s: %s, want %s", queue, got, want)
		}
	}
}

// An event that waits moves to another time, with its attempts; a sleeping relay hears of it.
func TestAnEventIsRescheduled(t *testing.T) {
	t.Parallel()
	db, store := rt.Outbox(t)
	rt.Exec(t, db, "SELECT outboxd.emit('late', '{}', available_at => now() + interval '1 day')")
	rt.Exec(t, db, "UPDATE outbox SET attempts = 3")
	rt.Exec(t, db, "INSERT INTO outbox_relays (id, host, pid, version, asleep) VALUES (gen_random_uuid(), 'h', 1, 'v', true)")
	id := rt.Find(t, db, "late")
	listener, err := db.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Release()
	if _, err := listener.Exec(t.Context(), "LISTEN outbox_wake"); err != nil {
		t.Fatal(err)
	}
	if got := answer(t, db.SQL(), "SELECT outboxd.reschedule($1, now(), 'it is urgent')", id); got != "rescheduled" {
		t.Fatalf("reschedule: %s", got)
	}
	if _, err := listener.Conn().WaitForNotification(t.Context()); err != nil {
		t.Errorf("the sleeping relay was not told: %v", err)
	}
	batch := rt.ClaimEvents(t, store)
	if len(batch.Events()) != 1 || batch.Events()[0].Attempts != 3 {
		t.Fatalf("claimed after it was rescheduled: %+v", batch.Events())
	}
	if got := answer(t, db.SQL(), "SELECT outboxd.reschedule($1, now())", id); got != "busy" {
		t.Errorf("reschedule while claimed: %s", got)
	}
	rt.Deliver(t, batch)
	if got := answer(t, db.SQL(), "SELECT outboxd.reschedule($1, now())", id); got != "rescheduled" {
		t.Errorf("reschedule of what Redis has: %s", got)
	}
	if went := rt.RelayAll(t, store); went != "late" {
		t.Errorf("%q went, want what was rescheduled to now", went)
	}
	rt.Confirm(t, db, "late")
	if got := answer(t, db.SQL(), "SELECT outboxd.reschedule($1, now())", id); got != "confirmed" {
		t.Errorf("reschedule of what took effect: %s", got)
	}
	rt.Exec(t, db, "SELECT outboxd.emit('outgrown', '{}')")
	for _, refusal := range []string{
		"ALTER TABLE outbox ADD CONSTRAINT smaller CHECK (event_type <> 'outgrown') NOT VALID",
		`ALTER TABLE outbox DROP CONSTRAINT smaller; CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
			CREATE TRIGGER refuse BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION refuse()`,
	} {
		rt.Exec(t, db, refusal)
		if got := answer(t, db.SQL(), "SELECT outboxd.reschedule(id, now()) FROM outbox WHERE event_type = 'outgrown'"); got != "refused" {
			t.Errorf("reschedule of what the outbox does not accept any more: %s", got)
		}
	}
	if _, err := db.SQL().Exec("SELECT outboxd.reschedule($1, 'infinity')", id); err == nil {
		t.Error("an event was rescheduled to the end of time")
	}
	adds(t, db, 0)
}

// A person cancels many events at once, and the action is recorded.
func TestPeopleCancelOnTheRecord(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	rt.Emit(t, db, 3)
	action := &domain.Action{Actor: "ada@host", Reason: "wrong price", Filter: map[string]string{"type": "test:1"}}
	ids := []domain.ID{rt.Find(t, db, "test:1"), rt.Find(t, db, "test:2"), {9}}
	changes, err := recall.New(db).Cancel(t.Context(), action, ids)
	if err != nil || len(changes) != 3 {
		t.Fatalf("%v, %v", changes, err)
	}
	if n := rt.Count(t, db, "SELECT events FROM outbox_actions WHERE action = 'cancel' AND actor = 'ada@host' AND reason = 'wrong price'"); n != 2 {
		t.Errorf("%d events are on the record, want 2", n)
	}
	if n := rt.Count(t, db, "SELECT count(*) FROM outbox_journal WHERE entry = 'cancelled' AND detail = 'by ada@host: wrong price'"); n != 2 {
		t.Errorf("%d events say who cancelled them, want 2", n)
	}
	if _, err := recall.New(db).Reschedule(t.Context(), action, []domain.ID{rt.Find(t, db, "test:3")}, time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
	for _, ending := range []struct {
		err  error
		want string
	}{
		{nil, "done"},
		{domain.Wrap(domain.CodeUnavailable, errors.New("no route to 10.0.0.7"), "the database is unavailable"), "failed: the database is unavailable"},
		{fmt.Errorf("cancel events: %w", context.Canceled), "interrupted: the process was told to end"},
	} {
		if err := recall.New(db).End(t.Context(), action, ending.err); !errors.Is(err, ending.err) {
			t.Errorf("%v became %v", ending.err, err)
		}
		if n := rt.Count(t, db, "SELECT count(*) FROM outbox_actions WHERE concat_ws(': ', outcome, nullif(cause, '')) = $1", ending.want); n != 1 {
			t.Errorf("%d actions are %s", n, ending.want)
		}
	}
	if err := recall.New(db).End(t.Context(), &domain.Action{}, nil); err != nil {
		t.Errorf("an action that changed nothing: %v", err)
	}
}

// A cancelled event stays until Redis has no task of it. The account keeps the number of the deleted ones.
func TestCancelledEventsAreTrimmedWhenNoTaskIsLeft(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	house := upkeep.NewHousekeeping(db, "")
	rt.Emit(t, db, 1)
	id := rt.Find(t, db, "test:1")
	if got := cancel(t, db, id); got != "cancelled" {
		t.Fatal(got)
	}
	trim := func(want int64) {
		t.Helper()
		if _, err := house.TrimInbox(t.Context(), 0, 100); err != nil {
			t.Fatal(err)
		}
		if n, err := house.TrimCancelled(t.Context(), 0, 100); err != nil || n != want {
			t.Errorf("trimmed %d, %v, want %d", n, err, want)
		}
		if n := rt.Count(t, db, "SELECT count(*) FROM inbox"); int64(n) != 1-want {
			t.Errorf("the inbox has %d rows, want %d", n, 1-want)
		}
		adds(t, db, 1)
	}
	trim(0)
	events, err := house.CancelledTasks(t.Context(), domain.ID{}, 10)
	if err != nil || len(events) != 1 || events[0].ID != id || events[0].Queue != "default" {
		t.Fatalf("tasks to remove: %+v, %v", events, err)
	}
	if err := house.TasksRemoved(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	trim(1)
}

// A producer that delivers at least once may write a cancelled event again, days later. The event stays without effect
// as long as a table has the repeat.
func TestACancelledEventThatIsWrittenAgainStaysCancelled(t *testing.T) {
	t.Parallel()
	db, store := rt.Outbox(t)
	house := upkeep.NewHousekeeping(db, "")
	rt.Emit(t, db, 1)
	id := rt.Find(t, db, "test:1")
	if got := cancel(t, db, id); got != "cancelled" {
		t.Fatal(got)
	}
	if err := house.TasksRemoved(t.Context(), []domain.Event{{ID: id}}); err != nil {
		t.Fatal(err)
	}
	trim := func(where string, want int64) {
		t.Helper()
		if n, err := house.TrimCancelled(t.Context(), 0, 100); err != nil || n != want {
			t.Errorf("%s: trimmed %d, %v, want %d", where, n, err, want)
		}
	}
	rt.Exec(t, db, "INSERT INTO outbox (id, event_type, payload) VALUES ($1, 'test:1', '{}')", id.String())
	trim("pending", 0)
	rt.RelayAll(t, store)
	trim("in flight", 0)
	if got := answer(t, db.SQL(), "SELECT outboxd.confirm($1)::text", id.String()); got != "false" {
		t.Errorf("confirm says %s, so the cancelled event takes effect", got)
	}
	adds(t, db, 1)
	rt.Exec(t, db, "DELETE FROM outbox_sent WHERE id = $1", id.String())
	trim("forgotten", 1)
	if n := rt.Count(t, db, "SELECT count(*) FROM inbox"); n != 0 {
		t.Errorf("the inbox has %d rows", n)
	}
}
