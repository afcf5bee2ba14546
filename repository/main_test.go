package repository_test

import (
	"context"
	"testing"
	"time"

	"outboxd/app/servertest"
	"outboxd/migrations"
	"outboxd/repository/postgres"
)

func TestMain(m *testing.M) { servertest.Main(m) }

func count(t *testing.T, db *postgres.Database, query string, args ...any) (n int) {
	t.Helper()
	if err := db.SQL().QueryRowContext(context.WithoutCancel(t.Context()), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// eventually waits for a count. Half a minute is only the length of a failure.
func eventually(t *testing.T, db *postgres.Database, want int, query string, args ...any) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for got := count(t, db, query, args...); got != want; got = count(t, db, query, args...) {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("%s: %d after 30 s, want %d", query, got, want)
		}
	}
}

func exec(t *testing.T, db *postgres.Database, statement string, args ...any) {
	t.Helper()
	if _, err := db.SQL().ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// emit writes n events that are due, the oldest first.
func emit(t *testing.T, db *postgres.Database, n int) {
	t.Helper()
	exec(t, db, `INSERT INTO outbox (event_type, payload, available_at)
		SELECT 'test:'||n, convert_to(n::text, 'UTF8'), now() - ($1 - n) * interval '1 ms' FROM generate_series(1, $1) n`, n)
}

func migrate(t *testing.T, db *postgres.Database) {
	t.Helper()
	if _, err := migrations.Up(t.Context(), db.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
}
