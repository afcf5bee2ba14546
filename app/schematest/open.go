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

// Open returns a pool on a fresh database with every migration applied; see
// servertest.Database. It is closed at the end of the test.
func Open(t testing.TB) *postgres.Database {
	t.Helper()
	db := Connect(t, servertest.Database(t))
	if _, err := migrations.Core().Up(t.Context(), db.SQL(), servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	return db
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

// Connect returns a pool of 16 connections on an existing database. It is
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
