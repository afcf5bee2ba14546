package repositorytest

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"outboxd/app/servertest"
	"outboxd/migrations"
	"outboxd/repository/postgres"
)

// Exec executes a statement.
func Exec(t testing.TB, db *postgres.Database, statement string, args ...any) {
	t.Helper()
	if _, err := db.SQL().ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Session returns one session of the database, which ends with the test, and a function
// that executes statements in it.
func Session(t testing.TB, db *postgres.Database) (conn *sql.Conn, run func(statement string)) {
	t.Helper()
	conn, err := db.SQL().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, func(statement string) {
		t.Helper()
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%.80s: %v", statement, err)
		}
	}
}

// Count returns what a query counts.
func Count(t testing.TB, db *postgres.Database, query string, args ...any) (n int) {
	t.Helper()
	if err := db.SQL().QueryRowContext(context.WithoutCancel(t.Context()), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// Eventually waits until a query counts the wanted number of rows. It fails the test
// after servertest.Patience.
func Eventually(t testing.TB, db *postgres.Database, want int, query string, args ...any) {
	t.Helper()
	var got int
	if !servertest.Within(servertest.Patience, func() bool { got = Count(t, db, query, args...); return got == want }) {
		t.Fatalf("%s: %d after %v, want %d", query, got, servertest.Patience, want)
	}
}

// AwaitWaiting waits until some session waits for a lock of another session.
func AwaitWaiting(t testing.TB, db *postgres.Database) {
	t.Helper()
	servertest.Eventually(t, "a session waits for a lock", func() bool {
		return Count(t, db, "SELECT Count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") > 0
	})
}

// Explain runs an EXPLAIN statement and returns the plan as text.
func Explain(t testing.TB, conn *sql.Conn, statement string) string {
	t.Helper()
	rows, err := conn.QueryContext(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(line + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan.String()
}

// Migrate makes the tables.
func Migrate(t testing.TB, db *postgres.Database) {
	t.Helper()
	if _, err := migrations.Core().Up(t.Context(), db.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
}
