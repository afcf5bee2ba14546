package registration_test

import (
	"testing"

	"outboxd/app/servertest"
	"outboxd/migrations"
	"outboxd/repository/postgres"
)

func TestMain(m *testing.M) { servertest.Main(m) }

func migrate(t *testing.T, db *postgres.Database) {
	t.Helper()
	if _, err := migrations.Core().Up(t.Context(), db.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
}

func exec(t *testing.T, db *postgres.Database, statement string, args ...any) {
	t.Helper()
	if _, err := db.SQL().ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func count(t *testing.T, db *postgres.Database, query string, args ...any) (n int) {
	t.Helper()
	if err := db.SQL().QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}
