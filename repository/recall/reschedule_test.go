package recall_test

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/postgres"
	rt "outboxd/repository/repositorytest"
	"outboxd/repository/upkeep"
)

// The function early reports whether a confirmation was refused as too early.
func early(err error) bool { return postgres.SQLState(err) == postgres.TooEarly }

func confirmOne(db interface {
	QueryRow(query string, args ...any) *sql.Row
}, id domain.ID,
) (first bool, err error) {
	err = db.QueryRow("SELECT outboxd.confirm($1)", id.String()).Scan(&first)
	return first, err
}

// A relay has handed the event to Redis, or may have done so before it died. After
// a caller was told that its event was rescheduled, the event must not take effect
// before its new time.
func TestARescheduledEventDoesNotTakeEffectBefore(t *testing.T) {
	t.Parallel()
	for what, prepare := range map[string]func(t *testing.T, db *postgres.Database, store *repository.Outbox){
		"published without an answer": func(t *testing.T, _ *postgres.Database, store *repository.Outbox) {
			if err := rt.ClaimEvents(t, store).Release(); err != nil {
				t.Fatal(err)
			}
		},
		"in flight": func(t *testing.T, _ *postgres.Database, store *repository.Outbox) { rt.RelayAll(t, store) },
		"failed once": func(t *testing.T, db *postgres.Database, _ *repository.Outbox) {
			rt.Exec(t, db, "UPDATE outbox SET attempts = 1, available_at = now() + interval '1 minute'")
		},
		"in flight with a key": func(t *testing.T, db *postgres.Database, store *repository.Outbox) {
			rt.Exec(t, db, "DELETE FROM outbox")
			rt.Exec(t, db, "DELETE FROM outbox_entries")
			rt.EmitKeyed(t, db, "test:1")
			rt.RelayAll(t, store)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			db, store := rt.Outbox(t)
			rt.Emit(t, db, 1)
			prepare(t, db, store)
			id := rt.Find(t, db, "test:1")
			if got := answer(t, db.SQL(), "SELECT outboxd.reschedule($1, now() + interval '1 day')", id); got != "rescheduled" {
				t.Fatalf("reschedule: %s", got)
			}
			if _, err := confirmOne(db.SQL(), id); !early(err) {
				t.Errorf("its former task takes effect a day before: %v", err)
			}
			if n := rt.Count(t, db, "SELECT count(*) FROM outbox WHERE generation = 1 AND available_at > now()"); n != 1 {
				t.Error("it does not wait under a task ID of its own")
			}
			if n := rt.Count(t, db, "SELECT count(*) FROM outbox_void_tasks WHERE generation = 0 AND removed_at IS NULL"); n != 1 {
				t.Error("nobody is told to delete its former task")
			}
			rt.EmitKeyed(t, db, "test:2") // which has the same key, if it has one
			_ = rt.RelayAll(t, store)
			if got := answer(t, db.SQL(), "SELECT outboxd.reschedule($1, now())", id); got != "rescheduled" {
				t.Fatalf("reschedule once more, to now: %s", got)
			}
			if went := rt.RelayAll(t, store); went != "test:1" {
				t.Errorf("%q went when it was time", went)
			}
			if first, err := confirmOne(db.SQL(), id); err != nil || !first {
				t.Errorf("it does not take effect when it is time: %t, %v", first, err)
			}
			if first, err := confirmOne(db.SQL(), id); err != nil || first {
				t.Errorf("it takes effect twice: %t, %v", first, err)
			}
			if got := answer(t, db.SQL(), "SELECT outboxd.reschedule($1, now())", id); got != "confirmed" {
				t.Errorf("reschedule of what took effect: %s", got)
			}
			adds(t, db, 0)
		})
	}
}

// A consumer that confirms an event while it is being rescheduled waits, and is
// then refused, also if its transaction is REPEATABLE READ. A consumer that has
// begun before is not disturbed.
func TestRescheduleAndAHandlerAtTheSameTime(t *testing.T) {
	t.Parallel()
	db, store := rt.Outbox(t)
	rt.Emit(t, db, 1)
	id := rt.Find(t, db, "test:1")
	rt.RelayAll(t, store)

	handler, err := db.SQL().Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := confirmOne(handler, id); err != nil {
		t.Fatal(err)
	}
	if got := answer(t, db.SQL(), "SELECT outboxd.reschedule($1, now() + interval '1 day')", id); got != "running" {
		t.Errorf("reschedule while its handler is at it: %s, want running", got)
	}
	if err := handler.Rollback(); err != nil {
		t.Fatal(err)
	}
	for _, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead} {
		producer, err := db.SQL().Begin()
		if err != nil {
			t.Fatal(err)
		}
		handler, err := db.SQL().BeginTx(t.Context(), &sql.TxOptions{Isolation: level})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = producer.Rollback(), handler.Rollback() })
		var pid int
		if err := handler.QueryRow("SELECT pg_backend_pid()").Scan(&pid); err != nil { // and takes a snapshot
			t.Fatal(err)
		}
		if got := answer(t, producer, "SELECT outboxd.reschedule($1, now() + interval '1 day')", id); got != "rescheduled" {
			t.Fatalf("reschedule: %s", got)
		}
		effect := make(chan error, 1)
		go func() {
			_, err := confirmOne(handler, id)
			if err == nil {
				err = handler.Commit()
			} else {
				_ = handler.Rollback()
			}
			effect <- err
		}()
		rt.Eventually(t, db, 1, "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'", pid)
		if err := producer.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := <-effect; !early(err) && postgres.SQLState(err) != "40001" {
			t.Errorf("%v: a handler that waited took effect a day before: %v", level, err)
		}
	}
	if n := rt.Count(t, db, "SELECT count(*) FROM inbox"); n != 0 {
		t.Errorf("%d events took effect", n)
	}
	if got := cancel(t, db, id); got != "cancelled" {
		t.Errorf("cancel of what was rescheduled: %s", got)
	}
	adds(t, db, 1)
}

// A transaction cannot tell whether a mail is being sent just now: it leaves that to the leader.
func TestWhatActsOutsideIsTakenBackAtOnceBeforeItIsHandedOver(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	if err := upkeep.NewHousekeeping(db, "").SayUnconfirmed(t.Context(), nil, []string{"mail"}); err != nil {
		t.Fatal(err)
	}
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
	rt.Exec(t, db, "SELECT outboxd.emit('mail', '{}', queue => 'now'), outboxd.emit('mail', '{}', queue => 'later', available_at => now() + interval '1 hour')")
	rt.RelayAll(t, store)
	for queue, want := range map[string]string{"now": "requested", "later": "rescheduled"} {
		got := answer(t, db.SQL(), `SELECT outboxd.reschedule(id, now() + interval '1 day') FROM (SELECT id, queue FROM outbox UNION ALL SELECT id, queue FROM outbox_sent) AS e WHERE queue = $1`, queue)
		if got != want {
			t.Errorf("reschedule of the mail that is due %s: %s, want %s", queue, got, want)
		}
	}
	if n := rt.Count(t, db, "SELECT count(*) FROM outbox_sent WHERE event_type = 'mail'"); n != 1 {
		t.Error("the mail that was handed over is not where it was")
	}
	for queue, want := range map[string]string{"now": "requested", "later": "cancelled"} {
		got := answer(t, db.SQL(), `SELECT outboxd.cancel(id) FROM (SELECT id, queue FROM outbox UNION ALL SELECT id, queue FROM outbox_sent) AS e WHERE queue = $1`, queue)
		if got != want {
			t.Errorf("cancel of the mail that is due %s: %s, want %s", queue, got, want)
		}
	}
	adds(t, db, 1)
}

// An event that was rescheduled keeps its place before later ones of its key.
func TestTheKeyOfARescheduledEventWaits(t *testing.T) {
	t.Parallel()
	db, store := rt.Outbox(t)
	rt.EmitKeyed(t, db, "k1", "k2", "k3")
	if went := rt.RelayAll(t, store); went != "k1" {
		t.Fatal(went)
	}
	first, second := rt.Find(t, db, "k1"), rt.Find(t, db, "k2")
	for _, id := range []domain.ID{first, second} {
		if got := answer(t, db.SQL(), "SELECT outboxd.reschedule($1, now() + interval '1 day')", id); got != "rescheduled" {
			t.Fatalf("reschedule: %s", got)
		}
	}
	if went := rt.RelayAll(t, store); went != "" {
		t.Errorf("%s went before its key's first event", went)
	}
	for _, id := range []domain.ID{first, second} {
		if got := answer(t, db.SQL(), "SELECT outboxd.reschedule($1, now())", id); got != "rescheduled" {
			t.Fatalf("reschedule: %s", got)
		}
	}
	var order []string
	for _, name := range []string{"k1", "k2", "k3"} {
		order = append(order, rt.RelayAll(t, store))
		rt.Confirm(t, db, name)
	}
	if got := strings.Join(order, " "); got != "k1 k2 k3" {
		t.Errorf("they went as %s", got)
	}
	adds(t, db, 0)
}

// A producer's transaction cannot move a delivery that its receiver may have.
// Then it does not move the event either.
func TestAnEventIsRescheduledWithItsDeliveries(t *testing.T) {
	t.Parallel()
	db, store := rt.Outbox(t)
	subscribe(t, db, "crm")
	rt.EmitKeyed(t, db, "k1", "k2")
	rt.RelayAll(t, store)
	event := func(name string) domain.ID { return eventOf(t, db, name) }
	tomorrow := time.Now().Add(24 * time.Hour)
	if got := answer(t, db.SQL(), "SELECT outboxd.reschedule($1, $2)", event("k1"), tomorrow); got != "requested" {
		t.Errorf("reschedule of an event whose delivery was handed over: %s", got)
	}
	if n := rt.Count(t, db, "SELECT count(*) FROM outbox_sent WHERE event_type = 'k1'"); n != 2 {
		t.Errorf("%d of an event and its delivery are where they were", n)
	}
	if got := answer(t, db.SQL(), "SELECT outboxd.reschedule($1, $2)", event("k2"), tomorrow); got != "rescheduled" {
		t.Errorf("reschedule of an event that is held, as its delivery: %s", got)
	}
	if n := rt.Count(t, db, "SELECT count(*) FROM outbox_held WHERE event_type = 'k2' AND available_at > now()"); n != 2 {
		t.Errorf("%d of an event and its delivery are rescheduled", n)
	}
	adds(t, db, 0)
}
