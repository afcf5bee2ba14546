// Package migrations holds the schema as numbered SQL files, embedded in the
// binary, and runs them.
//
// A file that has been released is never edited: a change of the schema is a
// new file.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed *.sql
var files embed.FS

// Table records which migrations a schema has. It has a name of its own, so
// that outboxd can share a schema with a service that uses goose itself.
const Table = "outbox_migrations"

// ErrPending says that the schema is older than the binary needs.
var ErrPending = errors.New("the database schema is not up to date")

// Migration is one numbered step and whether the schema has it.
type Migration struct {
	Version   int64
	Name      string
	AppliedAt time.Time // zero: pending
}

// Up applies every pending migration and returns how many it applied. Any
// number of processes may call it at once: an advisory lock, one per schema,
// lets one of them work while the others wait up to five minutes. A schema that
// is up to date costs one query and no lock.
func Up(ctx context.Context, db *sql.DB, logger *slog.Logger) (int, error) {
	provider, err := newProvider(ctx, db, logger)
	if err != nil {
		return 0, err
	}
	pending, err := provider.HasPending(ctx)
	if err != nil {
		return 0, fmt.Errorf("look for pending migrations: %w", err)
	}
	if !pending {
		return 0, nil
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return len(results), fmt.Errorf("migrate up: %w", err)
	}
	return len(results), nil
}

// Down takes back the newest applied migration, and with it the data that only
// its tables hold. It returns false if there is none.
func Down(ctx context.Context, db *sql.DB, logger *slog.Logger) (bool, error) {
	provider, err := newProvider(ctx, db, logger)
	if err != nil {
		return false, err
	}
	if _, err := provider.Down(ctx); errors.Is(err, goose.ErrNoNextVersion) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("migrate down: %w", err)
	}
	return true, nil
}

// Status lists all migrations that the binary knows, oldest first. It changes
// nothing.
func Status(ctx context.Context, db *sql.DB) ([]Migration, error) {
	provider, err := newProvider(ctx, db, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	sources := provider.ListSources()
	migrations := make([]Migration, len(sources))
	for i, s := range sources {
		migrations[i] = Migration{Version: s.Version, Name: s.Path}
	}
	applied, err := appliedAt(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("read which migrations the schema has: %w", err)
	}
	for i := range migrations {
		migrations[i].AppliedAt = applied[migrations[i].Version]
	}
	return migrations, nil
}

// Unknown returns how many migrations the schema has that the binary does not
// know, as it is during a roll-out of a newer one. It changes nothing.
func Unknown(ctx context.Context, db *sql.DB) (int, error) {
	known, err := Status(ctx, db)
	if err != nil {
		return 0, err
	}
	applied, err := appliedAt(ctx, db)
	if err != nil {
		return 0, fmt.Errorf("read which migrations the schema has: %w", err)
	}
	for _, m := range known {
		delete(applied, m.Version)
	}
	delete(applied, 0) // goose's own first entry
	return len(applied), nil
}

// appliedAt reads goose's table itself. Asked for the status, goose would make
// the table where there is none, and a process that runs with --migrate=off may
// not have the right to.
func appliedAt(ctx context.Context, db *sql.DB) (map[int64]time.Time, error) {
	var exists bool
	if err := db.QueryRowContext(ctx, "SELECT to_regclass($1) IS NOT NULL", Table).Scan(&exists); err != nil || !exists {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, "SELECT version_id, tstamp FROM "+Table+" WHERE is_applied")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	applied := map[int64]time.Time{}
	for rows.Next() {
		var version int64
		var at time.Time
		if err := rows.Scan(&version, &at); err != nil {
			return nil, err
		}
		applied[version] = at
	}
	return applied, rows.Err()
}

// Check returns ErrPending if the schema lacks a migration. It changes nothing.
func Check(ctx context.Context, db *sql.DB) error {
	status, err := Status(ctx, db)
	if err != nil {
		return err
	}
	pending := 0
	for _, m := range status {
		if m.AppliedAt.IsZero() {
			pending++
		}
	}
	if pending > 0 {
		return fmt.Errorf("%w: %d of %d migrations are pending; run outboxd migrate up, or start with --migrate=auto",
			ErrPending, pending, len(status))
	}
	return nil
}

func newProvider(ctx context.Context, db *sql.DB, logger *slog.Logger) (*goose.Provider, error) {
	locker, err := newLocker(ctx, db)
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithSessionLocker(locker), goose.WithTableName(Table),
		goose.WithDisableGlobalRegistry(true), goose.WithSlog(logger))
	if err != nil {
		return nil, fmt.Errorf("prepare the migrations: %w", err)
	}
	return provider, nil
}

// newLocker returns the lock under which a schema is changed.
//
// goose asks for the lock once a second instead of waiting inside PostgreSQL.
// That is what lets a migration use CREATE INDEX CONCURRENTLY, which waits for
// every statement that is running, waiting ones included.
func newLocker(ctx context.Context, db *sql.DB) (lock.SessionLocker, error) {
	lockID, err := schemaLockID(ctx, db)
	if err != nil {
		return nil, err
	}
	locker, err := lock.NewPostgresSessionLocker(
		lock.WithLockID(lockID), lock.WithLockTimeout(1, 300), lock.WithUnlockTimeout(1, 60))
	if err != nil {
		return nil, fmt.Errorf("prepare the migration lock: %w", err)
	}
	return locker, nil
}

// locked calls change while no other process changes the schema.
func locked(ctx context.Context, db *sql.DB, change func(conn *sql.Conn) error) (err error) {
	locker, err := newLocker(ctx, db)
	if err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("take a connection: %w", err)
	}
	defer conn.Close()
	if err := locker.SessionLock(ctx, conn); err != nil {
		return fmt.Errorf("wait for the migration lock: %w", err)
	}
	defer func() {
		if unlocked := locker.SessionUnlock(context.WithoutCancel(ctx), conn); err == nil && unlocked != nil {
			err = fmt.Errorf("give the migration lock back: %w", unlocked)
		}
	}()
	return change(conn)
}

// schemaLockID makes schemas of one database lock independently.
func schemaLockID(ctx context.Context, db *sql.DB) (int64, error) {
	var schema sql.NullString
	if err := db.QueryRowContext(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
		return 0, fmt.Errorf("connect to the database: %w", err)
	}
	if !schema.Valid {
		return 0, errors.New("the database URL's search_path names no schema that exists")
	}
	hash := fnv.New64a()
	hash.Write([]byte("outboxd " + schema.String))
	return int64(hash.Sum64()), nil //nolint:gosec // any 64 bits will do
}
