package repository_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/repositorytest"
)

func TestClaimTakesTheOldestDueAndPassesOverHeldOnes(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	emit(t, db, 5)
	exec(t, db, `INSERT INTO outbox (event_type, payload, available_at) VALUES ('test:later', '', now() + interval '1 hour')`)

	first, second, third := claim(t, store, 2), claim(t, store, 2), claim(t, store, 2)
	for i, want := range []string{"test:1 test:2", "test:3 test:4", "test:5"} {
		if got := types([]domain.Batch{first, second, third}[i].Events()); got != want {
			t.Errorf("claim %d: %q, want %q", i+1, got, want)
		}
	}
	if got := claim(t, store, 2).Events(); len(got) != 0 {
		t.Errorf("a fourth claim got %v", types(got))
	}
	if err := second.Release(); err != nil {
		t.Fatal(err)
	}
	if got, want := types(claim(t, store, 10).Events()), "test:3 test:4"; got != want {
		t.Errorf("after a release: %q, want %q", got, want)
	}
}

func TestClaimReadsEveryColumn(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, `INSERT INTO outbox (id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline, retention_seconds, unique_seconds,
			available_at, attempts, generation, last_error, created_at)
		VALUES ('01890000-0000-7000-8000-000000000001', 'a:b', '\x00ff', '{"k":"v"}', 'low', 0, 2, '2030-01-02 03:04:05Z', 4, 5, '2020-01-01Z', 6, 7, 'no', '2019-01-01Z')`)
	events := claim(t, repository.NewOutbox(db, repository.OutboxOptions{History: true}), 1).Events()
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	e := events[0]
	if e.Options.MaxRetry == nil {
		t.Fatal("max_retry 0 was read as unset")
	}
	got := fmt.Sprint(e.ID, e.TaskID(), e.Type, len(e.Payload), e.Headers, e.Queue, *e.Options.MaxRetry, e.Options.Timeout, e.Options.Deadline.UTC().Format(time.RFC3339),
		e.Options.Retention, e.Options.Unique, e.Available.UTC().Format(time.DateOnly), e.Attempts, e.Generation, e.LastError, e.CreatedAt.UTC().Format(time.DateOnly))
	want := "01890000-0000-7000-8000-00000000000101890000-0000-7000-8000-000000000001.7a:b2map[k:v]low0 2s2030-01-02T03:04:05Z4s 5s2020-01-01 6 7 no 2019-01-01"
	if strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("read\n%s, want\n%s", got, want)
	}
}

func TestCommit(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	emit(t, db, 4)
	batch := claim(t, repository.NewOutbox(db, repository.OutboxOptions{History: true}), 10)
	broken := errors.New("broken \x00 \xff text " + strings.Repeat("ü", 2000))
	err := batch.Commit(t.Context(), []domain.Outcome{
		{Verdict: domain.Delivered},
		{Verdict: domain.Refused, Err: broken, Delay: time.Hour},
		{Verdict: domain.Dead, Err: errors.New("impossible")},
		{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := batch.Release(); err != nil {
		t.Errorf("Release after Settle: %v", err)
	}
	for query, want := range map[string]int{
		"SELECT count(*) FROM outbox": 2,
		"SELECT count(*) FROM outbox_sent WHERE event_type = 'test:1' AND payload = '1' AND sent_at > now() - interval '1 min'": 1,
		"SELECT count(*) FROM outbox_sent": 1,
		"SELECT count(*) FROM outbox WHERE event_type = 'test:2' AND attempts = 1 AND last_error LIKE 'broken  %' AND available_at BETWEEN now() + interval '59 min' AND now() + interval '61 min'": 1,
		"SELECT count(*) FROM outbox_dead WHERE event_type = 'test:3' AND attempts = 1 AND error = 'impossible' AND stage = 'relay'":                                                                1,
		"SELECT count(*) FROM outbox_dead": 1,
		"SELECT count(*) FROM outbox WHERE event_type = 'test:4' AND attempts = 0 AND last_error IS NULL AND available_at <= now()": 1,
	} {
		if got := count(t, db, query); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
}

func TestCommitIsAllOrNothing(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	emit(t, db, 2)
	// The dead letters refuse the second event, so the first must not arrive either.
	exec(t, db, `ALTER TABLE outbox_dead ADD CHECK (event_type <> 'test:2')`)
	batch := claim(t, repository.NewOutbox(db, repository.OutboxOptions{History: true}), 10)
	if err := batch.Commit(t.Context(), []domain.Outcome{{Verdict: domain.Delivered}}); err == nil {
		t.Error("one outcome for two events was accepted")
	}
	err := batch.Commit(t.Context(), []domain.Outcome{{Verdict: domain.Delivered}, {Verdict: domain.Dead, Err: errors.New("never")}})
	if err == nil || !strings.Contains(err.Error(), "outbox_dead") {
		t.Fatalf("settled against a constraint: %v", err)
	}
	if err := batch.Release(); err != nil {
		t.Fatal(err)
	}
	if sent, pending := count(t, db, "SELECT count(*) FROM outbox_sent"), count(t, db, "SELECT count(*) FROM outbox"); sent != 0 || pending != 2 {
		t.Errorf("%d sent and %d pending, want 0 and 2", sent, pending)
	}
}

func TestADeadEventMayDieAgain(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	emit(t, db, 1)
	for n := range 2 {
		batch := claim(t, store, 1)
		if err := batch.Commit(t.Context(), []domain.Outcome{{Verdict: domain.Dead, Err: fmt.Errorf("death %d", n)}}); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			exec(t, db, `INSERT INTO outbox SELECT id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline, retention_seconds,
				unique_seconds, available_at, attempts, 1, last_error, created_at FROM outbox_dead`)
		}
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_dead WHERE error = 'death 1' AND generation = 1"); n != 1 {
		t.Errorf("%d dead letters of the second death", n)
	}
}

// A claim ends with its connection: after a crash its events are due at once.
func TestALostConnectionFreesItsEvents(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	emit(t, db, 3)
	batch := claim(t, store, 10)
	// Other tests' databases are copies of the same one, in which the table has the same number.
	exec(t, db, `SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database d ON d.oid = database
		WHERE datname = current_database() AND relation = 'outbox'::regclass AND mode = 'RowShareLock' AND pid <> pg_backend_pid()`)
	err := batch.Commit(t.Context(), []domain.Outcome{{Verdict: domain.Delivered}, {Verdict: domain.Delivered}, {Verdict: domain.Delivered}})
	if domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("settling on a dead connection: %v, want unavailable", err)
	}
	if err := batch.Release(); err != nil {
		t.Errorf("releasing on a dead connection: %v", err)
	}
	// The server says that it ends a connection before it lets go of its locks.
	eventually(t, db, 0, `SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
		WHERE datname = current_database() AND relation = 'outbox'::regclass AND mode = 'RowShareLock'`)
	if got := len(claim(t, store, 10).Events()); got != 3 {
		t.Errorf("%d events are due again, want 3", got)
	}
}

func TestConcurrentClaimsShareEventsWithoutLossOrRepeat(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	const events, sessions = 3000, 8
	emit(t, db, events)
	var mu sync.Mutex
	seen := map[domain.ID]int{}
	var all sync.WaitGroup
	for range sessions {
		all.Go(func() {
			for {
				batch, err := store.Claim(t.Context(), domain.Cursor{}, 37)
				if err != nil {
					t.Error(err)
					return
				}
				claimed := batch.Events()
				if len(claimed) == 0 {
					// Other goroutines may have claimed the remaining events, and settle them.
					return
				}
				outcomes := make([]domain.Outcome, len(claimed))
				for i := range outcomes {
					outcomes[i].Verdict = domain.Delivered
				}
				if err := batch.Commit(t.Context(), outcomes); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for i := range claimed {
					seen[claimed[i].ID]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(seen) != events {
		t.Errorf("%d events were settled, want %d", len(seen), events)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("event %s was settled %d times", id, n)
		}
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_sent"); n != events {
		t.Errorf("%d events in the history, want %d", n, events)
	}
}

func TestNextDue(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	if due, found, err := store.NextDue(t.Context(), false); err != nil || found {
		t.Errorf("NextDue of an empty outbox: %v, %v", due, err)
	}
	exec(t, db, `INSERT INTO outbox (event_type, payload, available_at) VALUES ('a', '', '2020-02-01Z'), ('a', '', '2100-02-01Z')`)
	if due, found, err := store.NextDue(t.Context(), false); err != nil || found {
		t.Errorf("NextDue: %v, %t, %v, want none: nobody sleeps until 2100", due, found, err)
	}
	exec(t, db, `INSERT INTO outbox (event_type, payload, available_at) VALUES ('a', '', now() + interval '3 hours'), ('a', '', now() + interval '2 hours')`)
	if due, found, err := store.NextDue(t.Context(), false); err != nil || !found || (due-2*time.Hour).Abs() > time.Minute {
		t.Errorf("NextDue: %v, %t, %v, want two hours", due, found, err)
	}
	for _, ago := range []string{"now() - interval '1 hour'", "'0001-01-01 00:00:00Z'"} {
		exec(t, db, `UPDATE outbox SET available_at = `+ago+` WHERE available_at < now()`)
		if due, found, err := store.NextDue(t.Context(), true); err != nil || !found || due > -time.Hour {
			t.Errorf("NextDue with what is overdue since %s: %v, %t, %v", ago, due, found, err)
		}
	}
}

// After a restart of the server every pooled connection is dead. A caller
// should notice only the time of the restart.
func TestTheServerRestarts(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	db := schematest.Connect(t, server.URL())
	migrate(t, db)
	emit(t, db, 3)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
	var held []domain.Batch
	for range 3 {
		held = append(held, claim(t, store, 1))
	}
	for _, batch := range held {
		if err := batch.Release(); err != nil {
			t.Fatal(err)
		}
	}
	server.Stop()
	if _, err := store.Claim(t.Context(), domain.Cursor{}, 1); domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("claiming without a server: %v, want unavailable", err)
	}
	if err := db.Ping(t.Context()); domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("pinging without a server: %v, want unavailable", err)
	}
	server.Start()
	if err := repository.EmitAlone(t.Context(), db, &domain.Event{Type: "test:a", Payload: []byte("{}")}); err != nil {
		t.Errorf("emitting after the restart: %v", err)
	}
	if got := len(claim(t, store, 10).Events()); got != 4 {
		t.Errorf("%d events after the restart, want 4", got)
	}
}

// Without a history a delivered event is in no table. An event that was not
// delivered comes back from memory with every column.
func TestCommitWithoutHistory(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := repository.NewOutbox(db, repository.OutboxOptions{})
	exec(t, db, `INSERT INTO outbox (event_type, payload, headers, queue, max_retry, timeout_seconds, deadline, retention_seconds, unique_seconds,
			available_at, attempts, generation, last_error, created_at)
		SELECT 'test:'||n, '\x00ff', '{"k":"v"}', 'low', 0, 2, '2030-01-02 03:04:05Z', 4, 5, '2020-01-01Z'::timestamptz + n * interval '1 s', 6, 7, 'no', '2019-01-01Z'
		FROM generate_series(1, 4) n`)
	exec(t, db, "CREATE TABLE before AS SELECT * FROM outbox")
	batch := claim(t, store, 10)
	err := batch.Commit(t.Context(), []domain.Outcome{
		{Verdict: domain.Delivered}, {}, {Verdict: domain.Refused, Err: errors.New("busy"), Delay: time.Hour}, {Verdict: domain.Dead, Err: errors.New("impossible")},
	})
	if err != nil {
		t.Fatal(err)
	}
	const same = `(o.payload, o.headers, o.queue, o.max_retry, o.timeout_seconds, o.deadline, o.retention_seconds, o.unique_seconds, o.generation, o.created_at)
		= (b.payload, b.headers, b.queue, b.max_retry, b.timeout_seconds, b.deadline, b.retention_seconds, b.unique_seconds, b.generation, b.created_at)`
	for query, want := range map[string]int{
		"SELECT count(*) FROM outbox_sent": 0,
		"SELECT count(*) FROM outbox o":    2,
		"SELECT count(*) FROM outbox o JOIN before b USING (id) WHERE o.event_type = 'test:2' AND o.available_at = b.available_at AND o.attempts = 6 AND o.last_error = 'no' AND " + same:              1,
		"SELECT count(*) FROM outbox o JOIN before b USING (id) WHERE o.event_type = 'test:3' AND o.available_at > now() + interval '59 min' AND o.attempts = 7 AND o.last_error = 'busy' AND " + same: 1,
		"SELECT count(*) FROM outbox_dead o JOIN before b USING (id) WHERE o.event_type = 'test:4' AND o.attempts = 7 AND o.error = 'impossible' AND " + same:                                          1,
	} {
		if got := count(t, db, query); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
}

// Large events make small batches: the event that reaches the bound is the last of its batch.
func TestClaimBoundsTheBytesOfABatch(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	store := repository.NewOutbox(db, repository.OutboxOptions{History: true, BatchBytes: 2500})
	exec(t, db, `INSERT INTO outbox (event_type, payload, available_at)
		SELECT 'test:'||n, convert_to(repeat('x', CASE n WHEN 4 THEN 5000 ELSE 1000 END), 'UTF8'), now() - (9 - n) * interval '1 s' FROM generate_series(1, 5) n`)
	for _, want := range []struct {
		types string
		full  bool
	}{{"test:1 test:2 test:3", true}, {"test:4", true}, {"test:5", false}} {
		batch := claim(t, store, 10)
		if got := types(batch.Events()); got != want.types || batch.Full() != want.full {
			t.Errorf("claimed %q, full %t, want %q, %t", got, batch.Full(), want.types, want.full)
		}
		outcomes := make([]domain.Outcome, len(batch.Events()))
		for i := range outcomes {
			outcomes[i].Verdict = domain.Delivered
		}
		if err := batch.Commit(t.Context(), outcomes); err != nil {
			t.Fatal(err)
		}
	}
}

// The cursor leaves out what lies before it, and nothing else.
func TestClaimBeginsAfterTheCursor(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	emit(t, db, 4)
	first := claim(t, store, 2).Events()
	batch, err := store.Claim(t.Context(), first[0].Cursor(), 10)
	if err != nil {
		t.Fatal(err)
	}
	if got := types(batch.Events()); got != "test:3 test:4" {
		t.Errorf("after the first event: %q, want those that nobody holds", got)
	}
	if batch.Now().IsZero() || time.Since(batch.Now()).Abs() > time.Hour {
		t.Errorf("the claim's time is %v", batch.Now())
	}
	if err := batch.Release(); err != nil {
		t.Fatal(err)
	}
	last := batch.Events()[1].Cursor()
	batch, err = store.Claim(t.Context(), last, 10)
	if err != nil {
		t.Fatal(err)
	}
	if got := types(batch.Events()); got != "test:4" {
		t.Errorf("from the last event on, which is due again: %q", got)
	}
	if err := batch.Release(); err != nil {
		t.Fatal(err)
	}
}
