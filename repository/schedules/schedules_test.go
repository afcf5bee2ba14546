package schedules_test

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/migrations"
	"outboxd/repository/postgres"
	rt "outboxd/repository/repositorytest"
	"outboxd/repository/schedules"
)

func person() *domain.Action { return &domain.Action{Actor: "ada@here", Reason: "test"} }

func report(name string, rule setup.MissedRule) setup.Schedule {
	retries := 3
	return setup.Schedule{
		Name: name, Cron: "* * * * *", TimeZone: "Europe/Berlin", Missed: rule,
		Event: domain.Event{
			Type: "report:build", Payload: []byte(`{"kind": "daily"}`), Headers: map[string]string{"tenant": "acme"}, Queue: "low", OrderingKey: "reports",
			Options: domain.TaskOptions{MaxRetry: &retries, Timeout: time.Minute, Retention: time.Hour},
		},
	}
}

func apply(t *testing.T, store *schedules.Store, want setup.Applied, s setup.Schedule) {
	t.Helper()
	changes, err := store.Apply(t.Context(), person(), []setup.Schedule{s})
	if err != nil || changes[0] != want {
		t.Fatalf("Apply: %v, %v, want %s", changes, err, want)
	}
}

func tick(t *testing.T, store *schedules.Store, emitted, leftOut int64) {
	t.Helper()
	ticks, err := store.Tick(t.Context())
	if err != nil || ticks.Emitted != emitted || ticks.LeftOut != leftOut {
		t.Fatalf("Tick: %+v, %v, want %d emitted and %d left out", ticks, err, emitted, leftOut)
	}
}

// The function back makes the ticks of the last minutes due, for all schedules: one for each minute
// if a schedule ticks every minute.
func back(t *testing.T, db *postgres.Database, minutes int) {
	t.Helper()
	rt.Exec(t, db, "UPDATE outbox_schedules SET next_at = date_trunc('minute', clock_timestamp()) - ($1 - 1) * interval '1 minute'", minutes)
}

// A schedule that is applied is as it was written. If it is applied again, it keeps its
// next tick. If its times change, it gets another one, and never one that it had.
func TestApplyKeepsWhatItIsGiven(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := schedules.New(db)
	apply(t, store, setup.AppliedAdded, report("nightly", setup.MissedAll))
	first, err := store.Find(t.Context(), "nightly")
	if err != nil {
		t.Fatal(err)
	}
	want := report("nightly", setup.MissedAll)
	if !reflect.DeepEqual(first.Event, want.Event) || first.Cron != want.Cron || first.Missed != want.Missed || !first.Next.After(time.Now().Add(-time.Second)) {
		t.Errorf("%+v", first)
	}
	rt.Exec(t, db, "UPDATE outbox_schedules SET next_at = next_at - interval '1 hour'")
	apply(t, store, setup.AppliedUnchanged, want)
	want.Event.Payload = []byte(`{"kind": "weekly"}`)
	apply(t, store, setup.AppliedChanged, want)
	if kept, err := store.Find(t.Context(), "nightly"); err != nil || !kept.Next.Equal(first.Next.Add(-time.Hour)) || kept.ID != first.ID {
		t.Errorf("the next tick is another one, though the times are the same: %+v, %v", kept, err)
	}
	rt.Exec(t, db, "UPDATE outbox_schedules SET last_at = now() + interval '2 hours'") // the clock was put back
	want.Cron = "*/2 * * * *"
	apply(t, store, setup.AppliedChanged, want)
	if moved, err := store.Find(t.Context(), "nightly"); err != nil || !moved.Next.After(moved.Last) {
		t.Errorf("a tick that was emitted comes again: %+v, %v", moved, err)
	}
	wrong := report("nightly", setup.MissedAll)
	wrong.Event.Headers = map[string]string{"x": string(make([]byte, 0))}
	wrong.Event.Queue = " "
	if _, err := store.Apply(t.Context(), person(), []setup.Schedule{wrong}); domain.ErrorCode(err) != domain.CodeInvalid {
		t.Errorf("an event that cannot be delivered is taken: %v", err)
	}
	large := report("large", setup.MissedAll)
	large.Event.Payload = make([]byte, 1<<20+1)
	limit, err := migrations.PayloadLimit(t.Context(), db.SQL())
	if err != nil {
		t.Fatal(err)
	}
	if err := setup.CheckSizes([]setup.Schedule{large}, limit); domain.ErrorCode(err) != domain.CodeInvalid || !strings.Contains(err.Error(), "1048577 bytes") {
		t.Errorf("a payload that no tick can carry is taken: %v", err)
	}
	if err := store.Remove(t.Context(), person(), "nightly"); err != nil {
		t.Fatal(err)
	}
	if err := store.Pause(t.Context(), person(), "nightly"); domain.ErrorCode(err) != domain.CodeNotFound {
		t.Errorf("pause of what is not there: %v", err)
	}
}

// A tick is an event with all that the schedule says, and its name and time.
func TestATickIsAnEvent(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := schedules.New(db)
	apply(t, store, setup.AppliedAdded, report("nightly", setup.MissedOnce))
	tick(t, store, 0, 0)
	back(t, db, 1)
	tick(t, store, 1, 0)
	tick(t, store, 0, 0)
	n := rt.Count(t, db, `SELECT count(*) FROM outbox e, outbox_schedules s WHERE e.event_type = 'report:build' AND convert_from(e.payload, 'UTF8') = '{"kind": "daily"}'
		AND e.queue = 'low' AND e.ordering_key = 'reports' AND e.max_retry = 3 AND e.timeout_seconds = 60 AND e.retention_seconds = 3600
		AND e.headers ->> 'tenant' = 'acme' AND e.headers ->> 'outboxd-schedule' = 'nightly' AND (e.headers ->> 'outboxd-tick')::timestamptz = s.last_at
		AND outbox_id_time(e.id) = s.last_at AND s.next_at = s.last_at + interval '1 minute' AND s.emitted = 1`)
	if n != 1 {
		t.Error("the event is not as the schedule says")
	}
	if n := rt.Count(t, db, "SELECT count(*) FROM outbox_entries"); n != 1 {
		t.Errorf("%d events are in the account", n)
	}
}

// What was missed is left out, made up for once, or one by one, up to a bound.
func TestMissedTicks(t *testing.T) {
	t.Parallel()
	for rule, want := range map[setup.MissedRule]struct{ emitted, leftOut int64 }{
		setup.MissedSkip: {2, 1198}, setup.MissedOnce: {3, 1197}, setup.MissedAll: {2 + setup.MissedAllAtMost, 1198 - setup.MissedAllAtMost},
	} {
		t.Run(string(rule), func(t *testing.T) {
			t.Parallel()
			db := schematest.Open(t)
			store := schedules.New(db)
			apply(t, store, setup.AppliedAdded, report("nightly", rule))
			// A tick that is at most two minutes late is not missed. With a tick in each minute these are
			// two ticks, or three if one is exactly two minutes old.
			back(t, db, 1200)
			ticks, err := store.Tick(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if ticks.Emitted < want.emitted || ticks.Emitted > want.emitted+2 || ticks.LeftOut > want.leftOut || ticks.LeftOut < want.leftOut-2 {
				t.Errorf("%+v, want %d emitted and %d left out", ticks, want.emitted, want.leftOut)
			}
			tick(t, store, 0, 0)
			if n := rt.Count(t, db, "SELECT count(DISTINCT headers ->> 'outboxd-tick') FROM outbox"); int64(n) != ticks.Emitted {
				t.Errorf("%d ticks have an event, want %d", n, ticks.Emitted)
			}
			sorted := rt.Count(t, db, `SELECT count(*) FROM (SELECT ordering_position > lag(ordering_position) OVER (ORDER BY headers ->> 'outboxd-tick') AS later FROM outbox) AS pairs WHERE NOT later`)
			if sorted != 0 {
				t.Errorf("%d events have a place before the tick before them", sorted)
			}
		})
	}
}

// Even if several relays lead at once, a tick is one event.
func TestTwoLeadersEmitATickOnce(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := schedules.New(db)
	const leaders, names, rounds = 4, 5, 10
	for n := range names {
		apply(t, store, setup.AppliedAdded, report(fmt.Sprintf("s%d", n), setup.MissedAll))
	}
	for range rounds {
		rt.Exec(t, db, "UPDATE outbox_schedules SET next_at = next_at - interval '1 hour', last_at = NULL, id = outbox_new_id()")
		var together sync.WaitGroup
		for range leaders {
			together.Go(func() {
				if _, err := schedules.New(db).Tick(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		together.Wait()
	}
	events := rt.Count(t, db, "SELECT count(*) FROM outbox")
	if emitted := rt.Count(t, db, "SELECT sum(emitted) FROM outbox_schedules"); events != emitted || events < names*rounds*60 {
		t.Errorf("%d events of %d ticks", events, emitted)
	}
}

// A tick that PostgreSQL forgot is the same event again.
func TestATickThatIsForgottenIsTheSameEvent(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := schedules.New(db)
	apply(t, store, setup.AppliedAdded, report("nightly", setup.MissedOnce))
	back(t, db, 1)
	tick(t, store, 1, 0)
	before := rt.Find(t, db, "report:build")
	rt.Exec(t, db, "UPDATE outbox_schedules SET next_at = last_at")
	tick(t, store, 0, 0) // the event exists already
	rt.Exec(t, db, "DELETE FROM outbox")
	rt.Exec(t, db, "UPDATE outbox_schedules SET next_at = last_at")
	tick(t, store, 1, 0)
	if after := rt.Find(t, db, "report:build"); after != before {
		t.Errorf("the event of the tick is %s, and was %s", after, before)
	}
}

// A paused schedule emits nothing. Its rule says what happens to the ticks that it
// missed. A schedule that fails says why and keeps no other waiting.
func TestPausedAndFailingSchedules(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := schedules.New(db)
	apply(t, store, setup.AppliedAdded, report("a", setup.MissedOnce))
	apply(t, store, setup.AppliedAdded, report("b", setup.MissedOnce))
	if err := store.Pause(t.Context(), person(), "a"); err != nil {
		t.Fatal(err)
	}
	back(t, db, 1)
	tick(t, store, 1, 0)
	if err := store.Resume(t.Context(), person(), "a"); err != nil {
		t.Fatal(err)
	}
	tick(t, store, 1, 0)
	rt.Exec(t, db, "UPDATE outbox_schedules SET cron = 'never' WHERE name = 'a'")
	back(t, db, 1)
	rt.Exec(t, db, "DELETE FROM outbox")
	ticks, err := store.Tick(t.Context())
	if err == nil || ticks.Emitted != 1 {
		t.Errorf("%+v, %v, want the event of the other one, and an error", ticks, err)
	}
	// Only the other schedule decides when the next look is.
	rt.Exec(t, db, "UPDATE outbox_schedules SET next_at = clock_timestamp() + interval '5 seconds' WHERE name = 'b'")
	if ticks, err := store.Tick(t.Context()); err == nil || ticks.Next <= 0 || ticks.Next > 5*time.Second {
		t.Errorf("%+v, %v, want the time of the other one, and an error", ticks, err)
	}
	rt.Exec(t, db, "UPDATE outbox_schedules SET next_at = clock_timestamp() + interval '1 hour' WHERE name = 'b'")
	if ticks, err := store.Tick(t.Context()); err == nil || ticks.Next != 10*time.Minute {
		t.Errorf("%+v, %v, want ten minutes where only the failing one is due", ticks, err)
	}
	failing, err := store.Find(t.Context(), "a")
	if err != nil || failing.Error == "" || failing.FailedAt.IsZero() {
		t.Errorf("it does not say why: %+v, %v", failing, err)
	}
	apply(t, store, setup.AppliedChanged, report("a", setup.MissedOnce))
	back(t, db, 1)
	if _, err := store.Tick(t.Context()); err != nil {
		t.Error(err)
	}
}
