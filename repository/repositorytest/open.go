package repositorytest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"outboxd/migrations"
	"outboxd/repository/postgres"
)

// Open returns a pool on a fresh schema with every migration applied; see
// Database. It is closed at the end of the test.
func Open(t testing.TB) *postgres.Database {
	t.Helper()
	db := Connect(t, Database(t))
	if _, err := migrations.Up(t.Context(), db.SQL(), Logger(t)); err != nil {
		t.Fatal(err)
	}
	return db
}

// Connect returns a pool of 16 connections on an existing database. It is
// closed at the end of the test.
func Connect(t testing.TB, url string) *postgres.Database {
	t.Helper()
	db, err := postgres.Open(context.Background(), postgres.Options{
		URL: url, MaxConns: 16, ConnectTimeout: 10 * time.Second, Logger: Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// Logger returns a logger that writes to the test's own log.
func Logger(t testing.TB) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
