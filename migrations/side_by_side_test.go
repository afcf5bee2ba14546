package migrations_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/migrations"
)

// later returns the migrations of a newer binary, which has one more migration, with this statement.
func later(t *testing.T, statement string) migrations.Set {
	t.Helper()
	return schematest.Later(t, map[string]string{"09999_later.sql": "-- +goose Up\n" + statement + ";\n-- +goose Down\n"})
}

const addColumn = "ALTER TABLE outbox ADD COLUMN later text"

// A binary works on a schema that a newer binary has made.
func TestASchemaThatIsNewerThanTheBinary(t *testing.T) {
	t.Parallel()
	db := schematest.Connect(t, servertest.Database(t)).SQL()
	if n, err := later(t, addColumn).Up(t.Context(), db, servertest.Logger(t)); err != nil || n < 2 {
		t.Fatalf("%d migrations, %v", n, err)
	}
	today := migrations.Core()
	if n, err := today.Up(t.Context(), db, servertest.Logger(t)); err != nil || n != 0 {
		t.Errorf("the older binary applied %d migrations, %v", n, err)
	}
	if err := today.Check(t.Context(), db); err != nil {
		t.Errorf("the older binary, with --migrate=off: %v", err)
	}
	if n, err := today.Unknown(t.Context(), db); err != nil || n != 1 {
		t.Errorf("it knows not %d migrations, %v; want 1", n, err)
	}
	exec(t, db, "SELECT outboxd.emit('test:a', '{}')")
}

// A migration that locks the outbox waits for a long transaction that uses the table. No producer
// waits behind the migration for long: half a second, and longer only because of the load of the tests.
func TestAMigrationLetsProducersPass(t *testing.T) {
	t.Parallel()
	url := servertest.Database(t)
	db := schematest.Connect(t, url).SQL()
	if _, err := migrations.Core().Up(t.Context(), db, servertest.Logger(t)); err != nil {
		t.Fatal(err)
	}
	long, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = long.Rollback() }()
	if _, err := long.ExecContext(t.Context(), "SELECT outboxd.emit('test:long', '{}')"); err != nil {
		t.Fatal(err)
	}
	migrated := make(chan error, 1)
	other := schematest.Connect(t, url).SQL()
	go func() {
		n, err := later(t, addColumn).Up(context.Background(), other, servertest.Logger(t))
		if err == nil && n != 1 {
			err = fmt.Errorf("%d migrations, want 1", n)
		}
		migrated <- err
	}()
	// The migration's first wait ends without the lock, and the migration waits again.
	for seen := 0; seen < 2; {
		if count(t, db, `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'outboxd.outbox'::regclass`) > 0 {
			begun := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			_, err := db.ExecContext(ctx, "SELECT outboxd.emit('test:short', '{}')")
			cancel()
			if err != nil {
				t.Fatalf("a producer behind the migration: %v", err)
			}
			if waited := time.Since(begun); waited > 2*time.Second {
				t.Errorf("a producer waited for %v behind the migration", waited)
			}
			seen++
		}
	}
	select {
	case err := <-migrated:
		t.Fatalf("it ended while a transaction kept the table in use: %v", err)
	default:
	}
	if err := long.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "SELECT count(*) FROM pg_attribute WHERE attrelid = 'outboxd.outbox'::regclass AND attname = 'later'"); n != 1 {
		t.Error("the column is not there")
	}
	if n := count(t, other, "SELECT count(*) FROM pg_settings WHERE name = 'lock_timeout' AND setting <> '0'"); n != 0 {
		t.Error("the limit of locks is left in a session of the pool")
	}
}
