package repository_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"outboxd/app/schematest"
	"outboxd/domain"
	"outboxd/repository"
	"outboxd/repository/deadletters"
	"outboxd/repository/heal"
	"outboxd/repository/postgres"
	"outboxd/repository/repositorytest"
	"outboxd/repository/search"
	"outboxd/repository/upkeep"
)

// unchecked drops the CHECKs of outbox, so that it accepts rows that cannot be relayed.
const unchecked = `
DO $$ DECLARE c name; BEGIN
    FOR c IN SELECT conname FROM pg_constraint WHERE conrelid = 'outbox'::regclass AND contype = 'c' LOOP
        EXECUTE format('ALTER TABLE outbox DROP CONSTRAINT %I', c);
    END LOOP;
END $$`

// A row that came past the checks becomes a dead letter, alone: the claim that
// finds it returns all other events.
func TestARowThatCannotBeRelayedIsSetAsideAlone(t *testing.T) {
	t.Parallel()
	rows := map[string]string{ // by what the dead letter says
		"created_at":     `INSERT INTO outbox (event_type, payload, created_at) VALUES ('test:odd', 'x', '-infinity')`,
		"its created_at": `INSERT INTO outbox (event_type, payload, created_at) VALUES ('test:odd', 'x', '294276-12-31 23:59:59Z')`,
		"available_at":   `INSERT INTO outbox (event_type, payload, available_at) VALUES ('test:odd', 'x', '-infinity')`,
		"4714":           `INSERT INTO outbox (event_type, payload, available_at, last_error) VALUES ('test:odd', 'x', '4714-11-24 00:00Z BC', 'x')`,
		"deadline":       `INSERT INTO outbox (event_type, payload, deadline) VALUES ('test:odd', 'x', 'infinity')`,
		"1971 to 9999":   `INSERT INTO outbox (event_type, payload, deadline) VALUES ('test:odd', 'x', '1970-06-01')`,
		"its ID is zero": `INSERT INTO outbox (id, event_type, payload) VALUES ('00000000-0000-0000-0000-000000000000', 'test:odd', 'x')`,
		"headers":        `INSERT INTO outbox (event_type, payload, headers) VALUES ('test:odd', 'x', '{"a": 1, "b": "c"}')`,
		"null value":     `INSERT INTO outbox (event_type, payload, ordering_key, ordering_position) VALUES ('test:odd', 'x', 'k', NULL)`,
		"its attempts":   `INSERT INTO outbox (event_type, payload, attempts) VALUES ('test:odd', 'x', 2147483647)`,
		"its generation": `INSERT INTO outbox (event_type, payload, generation) VALUES ('test:odd', 'x', -1)`,
		"0 and":          `INSERT INTO outbox (event_type, payload, attempts) VALUES ('test:odd', 'x', NULL)`,
		"index row":      `INSERT INTO outbox (event_type, payload, ordering_key, ordering_position) SELECT 'test:odd', 'x', string_agg(md5(n::text), ''), 1 FROM generate_series(1, 1000) n`,
	}
	for _, history := range []bool{true, false} {
		for says, row := range rows {
			t.Run(fmt.Sprintf("%s, history %t", says, history), func(t *testing.T) {
				t.Parallel()
				db := schematest.Open(t)
				exec(t, db, unchecked)
				exec(t, db, "ALTER TABLE outbox ALTER attempts DROP NOT NULL, ALTER ordering_position DROP NOT NULL, DISABLE TRIGGER outbox_take_position")
				exec(t, db, "DROP INDEX outbox_key")
				emit(t, db, 20)
				exec(t, db, row)
				emit(t, db, 20)
				store := repository.NewOutbox(db, repository.OutboxOptions{History: history})
				relayed := 0
				for range 3 {
					batch := claim(t, store, 100)
					relayed += len(batch.Events())
					deliverAll(t, batch)
				}
				if relayed != 40 {
					t.Errorf("%d events were relayed, want 40", relayed)
				}
				if n := count(t, db, "SELECT count(*) FROM outbox"); n != 0 {
					t.Errorf("%d events are pending", n)
				}
				if n := count(t, db, "SELECT count(*) FROM outbox_dead WHERE event_type = 'test:odd' AND payload = 'x' AND stage = 'relay'"); n != 1 {
					t.Errorf("%d dead letters", n)
				}
				if n := count(t, db, "SELECT count(*) FROM outbox_journal WHERE entry = 'died'"); n != 1 {
					t.Errorf("%d entries in the journal", n)
				}
				letters, err := deadletters.New(db).List(t.Context(), domain.DeadFilter{}, domain.Cursor{}, 10)
				if err != nil || len(letters) != 1 || !strings.HasPrefix(letters[0].Error, "the event cannot be relayed as it is in the outbox: ") {
					t.Errorf("dead letters %+v: %v", letters, err)
				}
				addsUp(t, db)
			})
		}
	}
}

// deliverAll settles a batch as delivered.
func deliverAll(t *testing.T, batch domain.Batch) {
	t.Helper()
	if len(batch.Events()) == 0 {
		return
	}
	outcomes := make([]domain.Outcome, len(batch.Events()))
	for i := range outcomes {
		outcomes[i].Verdict = domain.Delivered
	}
	if err := batch.Commit(t.Context(), outcomes); err != nil {
		t.Fatal(err)
	}
}

// addsUp checks the account, before and after it was folded.
func addsUp(t *testing.T, db *postgres.Database) {
	t.Helper()
	auditor := search.NewAuditor(db)
	for range 2 {
		lines, err := auditor.Account(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range lines {
			if lines[i].Difference() != 0 {
				t.Errorf("the account has %+v", lines[i])
			}
		}
		violations, err := auditor.Violations(t.Context(), lines, 10)
		for _, v := range violations {
			if v.Broken != "held without a reason" { // nobody did the housekeeping
				t.Errorf("violation %+v", v)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := upkeep.NewHousekeeping(db, "").FoldAccount(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// An error that every event meets is not the fault of one row, so no event
// may die of it.
func TestAnErrorOfTheSchemaKillsNoEvent(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, "ALTER TABLE outbox_sent ADD CONSTRAINT nothing_goes CHECK (false) NOT VALID")
	emit(t, db, 3)
	_, err := repository.NewOutbox(db, repository.OutboxOptions{History: true}).Claim(t.Context(), domain.Cursor{}, 10)
	if err == nil || !strings.Contains(err.Error(), "nothing_goes") {
		t.Errorf("claimed: %v", err)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox"); n != 3 {
		t.Errorf("%d events are pending, want 3", n)
	}
}

// A table is locked between the claim that fails because of a row and the claim around that row, as when a partition of
// the history is made. That is no fault of any row, nor an error: the claim waits.
func TestAClaimAroundAnOddRowWaitsForALockedTable(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	exec(t, db, `
		CREATE FUNCTION refuse_odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		    PERFORM pg_advisory_xact_lock(7);
		    RAISE 'odd events do not go';
		END $$`)
	exec(t, db, "CREATE TRIGGER refuse_odd BEFORE INSERT ON outbox_sent FOR EACH ROW WHEN (NEW.event_type = 'test:odd') EXECUTE FUNCTION refuse_odd()")
	exec(t, db, "INSERT INTO outbox (event_type, payload) VALUES ('test:odd', 'x')")
	emit(t, db, 1)
	gate, lock := repository.Begin(t.Context(), db), repository.Begin(t.Context(), db)
	defer gate.Rollback()
	defer lock.Rollback()
	if err := gate.Exec("SELECT pg_advisory_xact_lock(7)").Error; err != nil {
		t.Fatal(err)
	}
	type result struct {
		batch domain.Batch
		err   error
	}
	claimed, locked := make(chan result, 1), make(chan error, 1)
	go func() {
		batch, err := repository.NewOutbox(db, repository.OutboxOptions{History: true}).Claim(t.Context(), domain.Cursor{}, 10)
		claimed <- result{batch, err}
	}()
	const waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND "
	eventually(t, db, 1, waiting+"locktype = 'advisory'")
	go func() { locked <- lock.Exec("LOCK outbox_sent IN ACCESS EXCLUSIVE MODE").Error }()
	eventually(t, db, 1, waiting+"locktype = 'relation'")
	gate.Rollback() // the claim fails, and the lock is granted
	if err := <-locked; err != nil {
		t.Fatal(err)
	}
	// The claim around the row waits, and not for as short a time as for one row.
	eventually(t, db, 1, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'relation'
		AND clock_timestamp() - query_start > interval '100 milliseconds'`)
	lock.Rollback()
	r := <-claimed
	if r.err != nil {
		t.Fatalf("claimed: %v", r.err)
	}
	if n := len(r.batch.Events()); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	deliverAll(t, r.batch)
	if n := count(t, db, "SELECT count(*) FROM outbox_dead"); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
}

// If even the dead letters refuse a row, it stays where it is and is skipped.
func TestARowThatCannotBeSetAsideIsPassedOver(t *testing.T) {
	t.Parallel()
	for name, odd := range map[string]int{"one": 1, "more than a claim sets aside": 40, "more than a claim takes": 130} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := schematest.Open(t)
			exec(t, db, unchecked)
			exec(t, db, "ALTER TABLE outbox_dead ADD CHECK (event_type <> 'test:odd')")
			exec(t, db, fmt.Sprintf(`INSERT INTO outbox (event_type, payload, created_at, available_at) SELECT 'test:odd', 'x', '-infinity', '2020-01-01' FROM generate_series(1, %d)`, odd))
			emit(t, db, 5)
			store := repository.NewOutbox(db, repository.OutboxOptions{History: true})
			batch := claim(t, store, 60)
			for len(batch.Events()) == 0 && batch.Full() {
				batch = claim(t, store, 60)
			}
			if got := len(batch.Events()); got != 5 {
				t.Errorf("%d events, want 5", got)
			}
			deliverAll(t, batch)
			if n := count(t, db, "SELECT count(*) FROM outbox WHERE event_type = 'test:odd'"); n != odd {
				t.Errorf("%d rows stayed, want %d", n, odd)
			}
		})
	}
}

// A claim ends before it has looked at all due rows. It says so: otherwise the relay would wait, and its cursor would
// pass the rest.
func TestAClaimAroundOddRowsSaysThatMoreIsDue(t *testing.T) {
	t.Parallel()
	for name, rows := range map[string]string{
		"many odd rows": `INSERT INTO outbox (event_type, payload, created_at, available_at) SELECT 'test:odd', 'x', '-infinity', '2020-01-02' FROM generate_series(1, 40)`,
		"large events":  `INSERT INTO outbox (event_type, payload, created_at, available_at) VALUES ('test:odd', 'x', '-infinity', '2020-01-02'), ('test:large', 'xxx', now(), '2020-01-03')`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := schematest.Open(t)
			exec(t, db, unchecked)
			exec(t, db, "ALTER TABLE outbox_dead ADD CHECK (event_type <> 'test:odd')")
			exec(t, db, "INSERT INTO outbox (event_type, payload, available_at) VALUES ('test:first', 'x', '2020-01-01')")
			exec(t, db, rows)
			emit(t, db, 1)
			batch := claim(t, repository.NewOutbox(db, repository.OutboxOptions{History: true, BatchBytes: 2}), 100)
			if got := len(batch.Events()); got == 0 || got == 3 || !batch.Full() {
				t.Errorf("%d events, full %t; want some, and more to come", got, batch.Full())
			}
			deliverAll(t, batch)
		})
	}
}

// A held event that neither the outbox nor the dead letters take stays held, and the server says so.
func TestAHeldEventThatCannotBeSetAsideIsReported(t *testing.T) {
	t.Parallel()
	url := schematest.Database(t)
	db := schematest.Connect(t, url)
	emitKeyed(t, db, "a1", "a2")
	relayAll(t, repository.NewOutbox(db, repository.OutboxOptions{History: true}))
	exec(t, db, "ALTER TABLE outbox ADD CHECK (event_type <> 'a2') NOT VALID")
	exec(t, db, "ALTER TABLE outbox_dead ADD CHECK (event_type <> 'a2')")
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { said = append(said, n.Message) }
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "SELECT outboxd.confirm(id) FROM outboxd.outbox_sent WHERE event_type = 'a1'"); err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 || !strings.Contains(said[0], "stays held") {
		t.Errorf("the server said %q", said)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_held"); n != 1 {
		t.Errorf("%d events are held, want 1", n)
	}
}

// If every due row is odd, the claim has no events, not even the one that it made up.
func TestOddRowsAloneAreNoEvents(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]string{"they die": "SELECT", "they stay": "ALTER TABLE outbox_dead ADD CHECK (event_type <> 'test:odd')"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := schematest.Open(t)
			exec(t, db, unchecked)
			exec(t, db, refuse)
			exec(t, db, `INSERT INTO outbox (event_type, payload, created_at, available_at) VALUES ('test:odd', 'x', '-infinity', '2020-01-01')`)
			batch := claim(t, repository.NewOutbox(db, repository.OutboxOptions{History: true}), 10)
			if got := batch.Events(); len(got) != 0 || batch.Held() != 0 {
				t.Errorf("the claim has the events %v, and held %d", got, batch.Held())
			}
			deliverAll(t, batch)
		})
	}
}

// An event that the outbox does not take back after a refusal dies alone.
func TestAnEventThatTheOutboxDoesNotTakeBackDiesAlone(t *testing.T) {
	t.Parallel()
	for _, history := range []bool{true, false} {
		db := schematest.Open(t)
		emit(t, db, 3)
		exec(t, db, "ALTER TABLE outbox ADD CONSTRAINT stricter_by_now CHECK (event_type <> 'test:2') NOT VALID")
		batch := claim(t, repository.NewOutbox(db, repository.OutboxOptions{History: history}), 10)
		refused := domain.Outcome{Verdict: domain.Refused, Err: context.DeadlineExceeded}
		if err := batch.Commit(t.Context(), []domain.Outcome{refused, refused, {Verdict: domain.Delivered}}); err != nil {
			t.Fatal(err)
		}
		if n := count(t, db, "SELECT count(*) FROM outbox WHERE event_type = 'test:1' AND attempts = 1"); n != 1 {
			t.Errorf("history %t: %d events went back", history, n)
		}
		if n := count(t, db, "SELECT count(*) FROM outbox_dead WHERE event_type = 'test:2' AND error LIKE '%stricter_by_now%'"); n != 1 {
			t.Errorf("history %t: %d dead letters", history, n)
		}
		addsUp(t, db)
	}
}

// An event that the outbox does not take back from the history dies alone, and
// the rest is healed.
func TestAnEventThatCannotBeSentAgainDiesAlone(t *testing.T) {
	t.Parallel()
	db, store := repositorytest.Outbox(t)
	emit(t, db, 30)
	deliverAll(t, claim(t, store, 100))
	exec(t, db, "ALTER TABLE outbox ADD CONSTRAINT stricter_by_now CHECK (event_type NOT IN ('test:2', 'test:17')) NOT VALID")
	back, err := heal.NewRedriver(db).Redrive(t.Context(), 1<<40)
	if err != nil || back != 28 {
		t.Errorf("%d events went back: %v", back, err)
	}
	if n := count(t, db, "SELECT count(*) FROM outbox_dead WHERE event_type IN ('test:2', 'test:17') AND error LIKE '%stricter_by_now%'"); n != 2 {
		t.Errorf("%d dead letters", n)
	}
	addsUp(t, db)
}
