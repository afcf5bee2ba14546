package migrations_test

import (
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/migrations"
)

// Autovacuum of the outbox, which takes minutes here, delays a migration, and a change of the payload limit, only for
// a moment. Autovacuum of another table goes on.
func TestAMigrationStopsAutovacuum(t *testing.T) {
	t.Parallel()
	url := postgrestest.Start(t).URL()
	db := schematest.Connect(t, url).SQL()
	if _, err := migrations.Core().Up(t.Context(), db, servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	// Autovacuum pauses after each page. PostgreSQL cancels it only for a session that waits for longer than a migration may.
	for _, statement := range []string{
		"ALTER SYSTEM SET autovacuum_naptime = '1s'", "ALTER SYSTEM SET deadlock_timeout = '600ms'", "SELECT pg_reload_conf()",
		"ALTER TABLE outbox SET (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 100)",
		"INSERT INTO outbox (event_type, payload) SELECT 'test:a', '{}' FROM generate_series(1, 10000)",
		"DELETE FROM outbox",
		"ALTER TABLE inbox SET (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 100)",
		"INSERT INTO inbox (event_id) SELECT gen_random_uuid() FROM generate_series(1, 10000)",
		"DELETE FROM inbox",
	} {
		exec(t, db, statement)
	}
	const vacuums = "SELECT coalesce(max(pid), 0) FROM pg_stat_progress_vacuum WHERE relid = $1::regclass"
	awaitVacuum := func() {
		t.Helper()
		servertest.Eventually(t, "autovacuum works on the outbox", func() bool { return count(t, db, vacuums, "outbox") > 0 })
	}
	awaitVacuum()
	servertest.Eventually(t, "autovacuum works on the inbox", func() bool { return count(t, db, vacuums, "inbox") > 0 })
	inboxBefore := count(t, db, vacuums, "inbox")
	if n, err := later(t, addColumn).Up(t.Context(), db, servertest.Logger(t)); err != nil || n != 1 {
		t.Fatalf("%d migrations, %v", n, err)
	}
	awaitVacuum()
	if changed, err := migrations.LimitPayload(t.Context(), db, 1000, servertest.Logger(t)); err != nil || !changed {
		t.Fatalf("the limit of payloads was changed: %t, %v", changed, err)
	}
	if got := count(t, db, vacuums, "inbox"); got != inboxBefore {
		t.Errorf("process %d works on the inbox, want %d as before", got, inboxBefore)
	}
}
