package examine_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/repository/examine"
	"outboxd/repository/postgres"
	"outboxd/repository/search"
)

// examined returns the findings of an examination and of diagnosis.Quick, except those
// that every test server has.
func examined(t *testing.T, db *postgres.Database, o examine.Options) []domain.Finding {
	t.Helper()
	found, err := examine.New(db, o).Examine(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if standing, err := search.NewOverviews(db).Standing(context.WithoutCancel(t.Context())); err == nil {
		found = diagnosis.Quick{Standing: standing}.Merge(found)
	}
	for _, f := range found {
		if f.Code == "" || f.Found == "" || f.Consequence == "" || f.Remedy == "" {
			t.Errorf("it says too little: %+v", f)
		}
	}
	return slices.DeleteFunc(found, func(f domain.Finding) bool { return f.Code == "postgres-fsync-off" })
}

func codes(found []domain.Finding) string {
	list := make([]string, len(found))
	for i, f := range found {
		list[i] = f.Code + "/" + string(f.Level)
	}
	return strings.Join(list, " ")
}

// Each case provokes one finding, on a database of its own.
func TestExaminerFinds(t *testing.T) {
	t.Parallel()
	type setting struct {
		db *postgres.Database
		o  *examine.Options
	}
	today, tomorrow := time.Now().UTC().Format("20060102"), time.Now().UTC().AddDate(0, 0, 1).Format("20060102")
	tests := map[string]struct {
		provoke func(t *testing.T, s setting)
		want    string // codes
		says    []string
	}{
		"nothing": {func(*testing.T, setting) {}, "", nil},
		"clock behind": {func(_ *testing.T, s setting) {
			s.o.Now = func() time.Time { return time.Now().Add(time.Minute) }
		}, "postgres-clock/warning", []string{"PostgreSQL's clock is", "behind this machine's", "NTP"}},
		"clock ahead": {func(_ *testing.T, s setting) {
			s.o.Now = func() time.Time { return time.Now().Add(-time.Minute) }
		}, "postgres-clock/warning", []string{"ahead of this machine's"}},
		"too few connections": {func(_ *testing.T, s setting) { s.o.Conns = 1000 }, "postgres-connections/warning", []string{"max_connections", "may open 1,000"}},
		"limit of the database": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 5', current_database()); END $$`)
			s.o.Conns = 9
		}, "postgres-connections/warning", []string{"of the 5 connections that the connection limit of the database allows"}},
		"a schedule is late": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `INSERT INTO outbox_schedules (name, cron, time_zone, missed, event_type, payload, next_at, paused_at) VALUES
				('nightly', '@daily', 'UTC', 'once', 'tick', '', now() - interval '10 minutes', NULL), ('paused', '@daily', 'UTC', 'once', 'tick', '', now() - interval '1 hour', now()),
				('in time', '@daily', 'UTC', 'once', 'tick', '', now() - interval '1 minute', NULL)`)
		}, "schedules-late/warning", []string{"1 schedule did not tick", "nightly has been late for 10", "no relay leads"}},
		"a schedule fails": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `INSERT INTO outbox_schedules (name, cron, time_zone, missed, event_type, payload, next_at, error)
				VALUES ('nightly', '@daily', 'UTC', 'once', 'tick', '', now() - interval '10 minutes', 'the payload is too large')`)
		}, "schedules-late/warning", []string{"the payload is too large", "outboxd schedules pause nightly"}},
		"autovacuum off": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `ALTER TABLE outbox SET (autovacuum_enabled = false)`)
		}, "autovacuum-off/warning", []string{"off for outbox", "ALTER TABLE outbox RESET"}},
		"partition of today": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `DROP TABLE outbox_sent_`+today)
		}, "partition-missing/warning", []string{"no partition for today"}},
		"partition of tomorrow": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `DROP TABLE outbox_sent_`+tomorrow)
		}, "partitions-behind/warning", []string{"tomorrow"}},
		"default partition": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, sent_at)
				VALUES (outbox_new_id(), 't', '', '{}', 'q', now(), 0, 0, now(), now() - interval '30 days')`)
		}, "partition-default/note", []string{"1 row of the history is"}},
		"no relay": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `UPDATE outbox_relays SET seen_at = now() - interval '2 minutes'`)
		}, "no-relay/broken", []string{"outboxd --roles=relay"}},
		"no leader": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `UPDATE outbox_relays SET started_at = now() - interval '5 minutes'`)
		}, "leader-absent/warning", []string{"none has led for 5 min"}},
		"a task without an event": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `UPDATE outbox_queue_identity SET went_back_at = now(), history_seconds = 3600, history_since = now() - interval '1 hour'`)
			exec(t, s.db, `SELECT outboxd.confirm(outbox_new_id())`)
		}, "events-unknown/warning", []string{"1 task has no event any more", "outbox_journal"}},
		"late events": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `INSERT INTO outbox (event_type, payload, available_at) VALUES ('t', '', now() - interval '2 hours')`)
		}, "events-late/broken", []string{"due for 2 h"}},
		"dead letters": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error, died_at)
				VALUES (outbox_new_id(), 't', '', '{}', 'q', now(), 0, 0, now(), 'relay', 'no', now() - interval '3 days')`)
		}, "dead-letters/warning", []string{"1 dead letter, the oldest of 3 d ago", "outboxd dead group"}},
		"held keys": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `INSERT INTO outbox_turns (ordering_key, event_id, taken_at) VALUES ('k', '01980000-0000-7000-8000-000000000000', now() - interval '90 minutes'), ('free', outbox_new_id(), now() - interval '9 hours')`)
			exec(t, s.db, `INSERT INTO outbox_held (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, ordering_key, ordering_position)
				VALUES (outbox_new_id(), 't', '', '{}', 'q', now(), 0, 0, now(), 'k', 1)`)
		}, "keys-held/warning", []string{"1 ordering key holds", "for 1 h 30 min", "events show 01980000-0000-7000-8000-000000000000"}},
		"row-level security": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `ALTER TABLE outbox ENABLE ROW LEVEL SECURITY; ALTER TABLE inbox ENABLE ROW LEVEL SECURITY`) // we own them
			exec(t, s.db, `DO $$ BEGIN CREATE ROLE outboxd_api; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$`)
			exec(t, s.db, `GRANT INSERT (id) ON outbox TO outboxd_api`)
			t.Cleanup(func() { _, _ = s.db.SQL().ExecContext(context.WithoutCancel(t.Context()), `DROP OWNED BY outboxd_api`) })
		}, "row-security/warning", []string{"of outbox applies to outboxd_api", "ALTER ROLE outboxd_api BYPASSRLS"}},
		"published": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `CREATE PUBLICATION cdc FOR ALL TABLES; ALTER TABLE outbox_journal REPLICA IDENTITY NOTHING`)
		}, "replica-identity/warning", []string{"has the tables outbox_journal, which", "REPLICA IDENTITY DEFAULT"}},
		"triggers off": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `ALTER TABLE outbox DISABLE TRIGGER ALL; DROP TRIGGER outbox_confirmed ON inbox`)
		}, "triggers-off/warning", []string{"outbox_confirmed of inbox, outbox_take_position of outbox, outbox_written of outbox", "ENABLE TRIGGER USER"}},
		"triggers always on": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `ALTER TABLE outbox ENABLE ALWAYS TRIGGER outbox_written`)
		}, "triggers-always/note", []string{"outbox_written"}},
		"triggers bypassed": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', current_database()); END $$`)
		}, "triggers-bypassed/warning", []string{"replica for the database", "RESET session_replication_role"}},
		"positions behind": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `SELECT outboxd.emit('t', '{}', ordering_key => 'k') FROM generate_series(1, 3); SELECT setval('outbox_ordering_position', 2)`)
			exec(t, s.db, `DELETE FROM outbox WHERE ordering_position < 3`)
		}, "positions-behind/warning", []string{"is at 2, and there is an event with position 3"}},
		"unknown producer": {func(_ *testing.T, s setting) { s.o.ProducerRole = "nobody's" }, "producer-unknown/warning", []string{"no role nobody's"}},
		"commits later": {func(t *testing.T, s setting) {
			t.Helper()
			exec(t, s.db, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$`)
			exec(t, s.db, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		}, "postgres-commits-later/warning", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, o := schematest.Database(t), healthy()
			db := attended(t, url)
			test.provoke(t, setting{db, &o})
			fresh := schematest.Connect(t, url) // with what was set for new connections
			found := examined(t, fresh, o)
			if codes(found) != test.want {
				t.Fatalf("found %q, want %q: %v", codes(found), test.want, found)
			}
			for _, part := range test.says {
				if !strings.Contains(found[0].String(), part) {
					t.Errorf("it does not say %q: %s", part, found[0])
				}
			}
		})
	}
}

// A session in a transaction that has read, and a prepared transaction, hold back
// vacuum.
func TestExaminerNamesWhoHoldsBackVacuum(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	db := attended(t, server.URL())
	exec(t, db, `ALTER SYSTEM SET max_prepared_transactions = 5`)
	exec(t, db, `ALTER SYSTEM SET autovacuum = off`)
	server.Stop()
	server.Start()
	config, err := pgx.ParseConfig(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["application_name"] = "nightly\nreport"
	reader, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close(context.WithoutCancel(t.Context())) }()
	run := func(statement string) {
		t.Helper()
		if _, err := reader.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	run(`BEGIN; CREATE TABLE for_two_phases (); PREPARE TRANSACTION 'it''s late'`)
	run(`BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM outbox`)

	o := healthy()
	fresh := schematest.Connect(t, server.URL())
	if found := examined(t, fresh, o); codes(found) != "autovacuum-off/warning" {
		t.Errorf("of what is not old yet: found %q", codes(found))
	}
	o.SnapshotAge = 0
	found := examined(t, fresh, o)
	pid := reader.PgConn().PID()
	for code, parts := range map[string][]string{
		"old-snapshot":         {"(pid " + strconv.Itoa(int(pid)) + ", application nightly", "idle in transaction)", "pg_terminate_backend(" + strconv.Itoa(int(pid)) + ")"},
		"prepared-transaction": {"1 prepared transaction waits", `'it''s late' of outboxd`, `ROLLBACK PREPARED 'it''s late'`},
		"autovacuum-off":       {"outbox, outbox_entries, outbox_held, outbox_turns"},
	} {
		for _, part := range parts {
			if said := text(found, code); !strings.Contains(said, part) {
				t.Errorf("%s does not say %q: %q", code, part, said)
			}
		}
	}
	run(`COMMIT`)
	run(`ROLLBACK PREPARED 'it''s late'`)
	if found := examined(t, fresh, o); codes(found) != "autovacuum-off/warning" {
		t.Errorf("when they have ended: found %q", codes(found))
	}
}

func TestExaminerFindsWhatVacuumDidNotRemove(t *testing.T) {
	t.Parallel()
	db := attended(t, schematest.Database(t))
	exec(t, db, `ALTER TABLE outbox SET (autovacuum_enabled = false)`)
	exec(t, db, `ALTER TABLE outbox DISABLE TRIGGER USER`)
	exec(t, db, `INSERT INTO outbox (event_type, payload, available_at) SELECT 't', '', now() + interval '1 day' FROM generate_series(1, 100001)`)
	exec(t, db, `DELETE FROM outbox; ALTER TABLE outbox ENABLE TRIGGER USER`)
	// The server publishes its statistics a moment later.
	eventually(t, db, 1, `SELECT count(*) FROM pg_class WHERE oid = 'outbox'::regclass AND pg_stat_get_dead_tuples(oid) > 100000`)
	found := examined(t, db, healthy())
	if said := text(found, "vacuum-behind"); !strings.Contains(said, "outbox has 100,001 dead rows beside 0 live ones and was never vacuumed") {
		t.Errorf("found %q, %q", codes(found), said)
	}
	exec(t, db, `ALTER TABLE outbox RESET (autovacuum_enabled)`)
	exec(t, db, `VACUUM outbox`)
	eventually(t, db, 0, `SELECT count(*) FROM pg_class WHERE oid = 'outbox'::regclass AND pg_stat_get_dead_tuples(oid) > 100000`)
	if found := examined(t, db, healthy()); codes(found) != "" {
		t.Errorf("after VACUUM: found %q", codes(found))
	}
}

func TestExaminerFindsReplicationSlots(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	db := attended(t, server.URL())
	exec(t, db, `SELECT pg_create_physical_replication_slot('standby_gone', true)`)
	o := healthy()
	if found := examined(t, db, o); codes(found) != "replication-slot/note" {
		t.Errorf("found %q, want a note", codes(found))
	}
	exec(t, db, `INSERT INTO outbox (event_type, payload) SELECT 't', convert_to(repeat('x', 1000), 'UTF8') FROM generate_series(1, 2000)`)
	o.SlotBytes = 1 << 20
	found := examined(t, db, o)
	if said := text(found, "replication-slot"); codes(found) != "replication-slot/warning" ||
		!strings.Contains(said, "standby_gone is not in use") || !strings.Contains(said, "pg_drop_replication_slot('standby_gone')") {
		t.Errorf("found %q: %q, want a warning", codes(found), said)
	}
	exec(t, db, `SELECT pg_drop_replication_slot('standby_gone')`)
	if found := examined(t, db, o); codes(found) != "" {
		t.Errorf("without the slot: found %q", codes(found))
	}
}

// A standby takes no writes.
func TestExaminerFindsAStandby(t *testing.T) {
	t.Parallel()
	primary := postgrestest.Start(t)
	attended(t, primary.URL()).Close()
	standby := schematest.Connect(t, primary.Standby().URL())
	// Wait until the standby has the tables of the primary.
	eventually(t, standby, 1, `SELECT count(*) FROM pg_class WHERE oid = to_regclass('outbox_journal')`)
	found := examined(t, standby, healthy())
	if !strings.HasPrefix(text(found, "postgres-read-only"), "postgres-read-only: PostgreSQL is a standby") {
		t.Errorf("found %q", codes(found))
	}
}

// After the commands that the finding names, the role can emit.
func TestExaminerKnowsWhatAProducerNeeds(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	db := attended(t, server.URL())
	exec(t, db, `CREATE ROLE "the shop" LOGIN`)
	exec(t, db, `REVOKE ALL ON SCHEMA outboxd FROM PUBLIC`)
	exec(t, db, `REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA outboxd FROM PUBLIC`)
	o := healthy()
	o.ProducerRole = "the shop"
	found := examined(t, db, o)
	if codes(found) != "producer-rights/warning" || !strings.Contains(found[0].Found, `"the shop" lacks USAGE on the schema outboxd, INSERT on outbox, EXECUTE on`) {
		t.Fatalf("found %v", found)
	}
	for statement := range strings.SplitSeq(found[0].Remedy, "; ") {
		exec(t, db, statement)
	}
	if found := examined(t, db, o); codes(found) != "" {
		t.Errorf("with these grants: found %v", found)
	}
	exec(t, db, `REVOKE INSERT ON outbox FROM "the shop"; GRANT INSERT (id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline,
		retention_seconds, unique_seconds, available_at, ordering_key) ON outbox TO "the shop"`)
	if found := examined(t, db, o); codes(found) != "" {
		t.Errorf("with INSERT on the columns that are a producer's: found %v", found)
	}
	exec(t, db, `SET ROLE "the shop"; SELECT outboxd.emit('t', '{}', ordering_key => 'k', in_commit_order => true); RESET ROLE`)
}

// A role with few rights learns what it cannot examine.
func TestExaminerOfAnotherRole(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	db := attended(t, server.URL())
	exec(t, db, `CREATE ROLE watcher LOGIN; GRANT USAGE ON SCHEMA outboxd TO watcher; GRANT SELECT ON outbox, outbox_relays, outbox_sent TO watcher`)
	url := strings.Replace(server.URL(), "postgres://outboxd", "postgres://watcher", 1)
	found := examined(t, schematest.Connect(t, url), healthy())
	if codes(found) != "relay-rights/note postgres-hidden/note" {
		t.Fatalf("found %q at %s", codes(found), url)
	}
	if said := text(found, "postgres-hidden"); !strings.Contains(said, "partitions; whether positions of ordering keys go on from the highest; whether tasks are missing; whether schedules are late; whether ordering keys are held;") {
		t.Errorf("it says %s", said)
	}
	if said := text(found, "relay-rights"); !strings.Contains(said, "GRANT CREATE ON SCHEMA outboxd TO watcher") {
		t.Errorf("it says %s", said)
	}
}

func TestExaminerBehindPgBouncer(t *testing.T) {
	t.Parallel()
	direct := schematest.Database(t)
	attended(t, direct).Close()
	db, err := postgres.Open(t.Context(), postgres.Options{
		URL: postgrestest.PgBouncer(t, direct), MaxConns: 2, ExecMode: "exec", ConnectTimeout: 10 * time.Second, Logger: servertest.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	o := healthy()
	o.Listens = true
	if found := examined(t, db, o); codes(found) != "listen-in-vain/warning pooler/note" {
		t.Errorf("found %q", codes(found))
	}
	o.ListenURL = direct
	if found := examined(t, db, o); codes(found) != "pooler/note" {
		t.Errorf("with a URL that leads past it: found %q", codes(found))
	}
	o.ListenURL = "postgres://nobody@127.0.0.1:1/none"
	found := examined(t, db, o)
	if said := text(found, "listen-in-vain"); !strings.Contains(said, "cannot be made") || strings.Contains(said, "127.0.0.1") {
		t.Errorf("with a URL that leads nowhere: %q", said)
	}
}

func TestExaminerOfAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	o := healthy()
	o.ProducerRole, o.Listens = "nobody", true
	if found := examined(t, schematest.Connect(t, servertest.Database(t)), o); codes(found) != "" {
		t.Errorf("found %q", codes(found))
	}
}

// Even an idle process examines the database again and again, so an examination must
// cost little.
func TestExaminationIsOneTransaction(t *testing.T) {
	t.Parallel()
	url := schematest.Database(t)
	attended(t, url).Close()
	db, err := postgres.Open(t.Context(), postgres.Options{URL: url, MaxConns: 1, ConnectTimeout: 10 * time.Second, Logger: servertest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// A session numbers its transactions, including the one that asks for the number.
	number := func() int {
		t.Helper()
		return count(t, db, `SELECT split_part(virtualtransaction, '/', 2)::int FROM pg_locks WHERE pid = pg_backend_pid() LIMIT 1`)
	}
	number() // the first call also prepares the statement, in a transaction of its own
	before := number()
	if _, err := examine.New(db, healthy()).Examine(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := number() - before - 1; took != 1 {
		t.Errorf("it took %d transactions, want 1", took)
	}
}
