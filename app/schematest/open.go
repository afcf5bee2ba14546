package schematest

import (
	"context"
	"testing"
	"time"

	"outboxd/app/servertest"
	"outboxd/migrations"
	"outboxd/migrations/example"
	"outboxd/repository/postgres"
)

// Database returns the URL of a new database that has outboxd's own schema, without the
// example's. The migrations run once for all tests of a binary, and each
// test gets a copy of that database, because migrating takes five times as long as
// copying.
func Database(t testing.TB) string {
	t.Helper()
	url := servertest.Copy(t, "migrated", func(ctx context.Context, url string) error {
		db, err := postgres.Open(ctx, postgres.Options{URL: url, MaxConns: 4, ConnectTimeout: 10 * time.Second, Logger: servertest.Logger(t)})
		if err != nil {
			return err
		}
		defer db.Close()
		_, err = migrations.Core().Up(ctx, db.SQL(), servertest.Logger(t))
		return err
	})
	// The copied outboxes share a Redis, so give each of them a new name.
	servertest.Execute(t, url, "UPDATE outbox_queue_identity SET name = DEFAULT")
	return url
}

// Open returns a connection pool on a new database; see Database. The pool is closed at
// the end of the test.
func Open(t testing.TB) *postgres.Database {
	t.Helper()
	return Connect(t, Database(t))
}

// Example makes the example's schema in the database of db, and returns its
// name.
func Example(t testing.TB, db *postgres.Database) string {
	t.Helper()
	if _, err := example.Migrations().Up(t.Context(), db.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	return example.Schema(db.Schema())
}

// Connect returns a pool of up to 16 connections on an existing database. The pool is
// closed at the end of the test.
func Connect(t testing.TB, url string) *postgres.Database {
	t.Helper()
	db, err := postgres.Open(context.Background(), postgres.Options{
		URL: url, MaxConns: 16, ConnectTimeout: 10 * time.Second, Logger: servertest.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}
