package migrations_test

import (
	"database/sql"
	"errors"
	"sync"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/migrations"
)

func count(t *testing.T, db *sql.DB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func exec(t *testing.T, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func TestTenProcessesMigrateAtOnce(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	const processes = 10
	applied, errs := make([]int, processes), make([]error, processes)
	var all sync.WaitGroup
	for i := range processes {
		db := schematest.Connect(t, url)
		all.Go(func() {
			applied[i], errs[i] = migrations.Core().Up(t.Context(), db.SQL(), servertest.Logger(t))
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, n := range applied {
		total += n
	}
	list, err := migrations.Core().Status(t.Context(), schematest.Connect(t, url).SQL())
	if err != nil {
		t.Fatal(err)
	}
	if total != len(list) {
		t.Errorf("ten processes applied %v: %d migrations, want each of %d once", applied, total, len(list))
	}
}

func TestCheckSaysWhatIsPendingAndChangesNothing(t *testing.T) {
	t.Parallel()
	db := schematest.Connect(t, servertest.Database(t)).SQL()
	if err := migrations.Core().Check(t.Context(), db); !errors.Is(err, migrations.ErrPending) {
		t.Errorf("Check of an empty schema: %v, want ErrPending", err)
	}
	if n := count(t, db, "SELECT count(*) FROM pg_namespace WHERE nspname = $1", servertest.Schema); n != 0 {
		t.Errorf("Check left a schema")
	}
	if _, err := migrations.Core().Up(t.Context(), db, servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	if err := migrations.Core().Check(t.Context(), db); err != nil {
		t.Errorf("Check after Up: %v", err)
	}
}

// When the account's migration is applied again, it fills the account from the tables. It counts
// cancelled events too, and counts deliveries apart from events.
func TestTheAccountIsFilled(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t).SQL()
	exec(t, db, `SELECT outboxd.emit('test:a', '{}'), outboxd.emit('test:b', '{}')`)
	exec(t, db, `INSERT INTO outbox (id, event_type, payload, origin_id, subscription)
		SELECT outbox_delivery_id(id, gen_random_uuid()), event_type, payload, id, 'crm' FROM outbox WHERE event_type = 'test:a'`)
	exec(t, db, `SELECT outboxd.cancel(id) FROM outbox WHERE event_type = 'test:b'`)
	for range 4 {
		if _, err := migrations.Core().Down(t.Context(), db, servertest.Logger(t)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := migrations.Core().Up(t.Context(), db, servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	var account string
	if err := db.QueryRowContext(t.Context(), `SELECT string_agg(concat_ws(' ', event_type, emitted, deliveries), ', ' ORDER BY event_type) FROM outbox_account`).Scan(&account); err != nil {
		t.Fatal(err)
	}
	if account != "test:a 1 1, test:b 1 0" {
		t.Errorf("the account has %q", account)
	}
}

// Each migration is reverted while the tables of earlier migrations hold data, and leaves
// that data alone. When all are reverted, Up makes the whole schema again.
func TestDownAndUpWithData(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t).SQL()
	fill := []struct{ table, statement string }{
		{"outbox", `SELECT outboxd.emit('test:a', '{"n":1}')`},
		{"outbox_dead", schematest.DeadOf("broken") + "FROM outbox o"},
		{"outbox_sent", `INSERT INTO outbox_sent SELECT (jsonb_populate_record(NULL::outbox_sent, to_jsonb(o) || '{"sent_at":"now"}')).* FROM outbox o`},
		{"inbox", `INSERT INTO inbox SELECT id FROM outbox`},
		{"outbox_subscriptions", `INSERT INTO outbox_subscriptions (name, types, patterns, url, format, timeout_ms, concurrency, attempts, retry_max_ms, ordering)
			VALUES ('crm', '{*}', '{%}', 'http://crm', 'raw', 1000, 1, 1, 1000, 'none')`},
		{"outbox_schedules", `INSERT INTO outbox_schedules (name, cron, time_zone, missed, event_type, payload, next_at) VALUES ('s', '@daily', 'UTC', 'once', 'tick', '', now())`},
	}
	for _, f := range fill {
		exec(t, db, f.statement)
	}
	owned := [][]string{{"outbox_schedules"}, {}, {"outbox_subscriptions"}, {"outbox_account"}, {"outbox_turns"}, {"outbox_dead", "outbox_sent", "inbox"}, {"outbox"}}
	gone := map[string]bool{}
	for _, tables := range owned {
		if done, err := migrations.Core().Down(t.Context(), db, servertest.Logger(t)); err != nil || !done {
			t.Fatalf("Down: %t, %v", done, err)
		}
		for _, table := range tables {
			gone[table] = true
		}
		for _, f := range fill {
			if got := count(t, db, "SELECT count(to_regclass($1))", f.table); got == 1 == gone[f.table] {
				t.Errorf("after taking %v back: %s exists: %d", tables, f.table, got)
			} else if got == 1 && count(t, db, "SELECT count(*) FROM "+f.table) != 1 {
				t.Errorf("after taking %v back: %s lost its row", tables, f.table)
			}
		}
	}
	if done, err := migrations.Core().Down(t.Context(), db, servertest.Logger(t)); err != nil || done {
		t.Errorf("Down of an empty schema: %t, %v, want false", done, err)
	}
	if n := count(t, db, "SELECT count(*) FROM pg_namespace WHERE nspname = $1", servertest.Schema); n != 0 {
		t.Errorf("the schema is left")
	}
	if _, err := migrations.Core().Up(t.Context(), db, servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	for _, f := range fill {
		exec(t, db, f.statement)
	}
}
