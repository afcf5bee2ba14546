// Package migrations holds the schema as numbered SQL files, embedded in the
// binary, and runs them.
//
// Everything is made in one schema, the first on the search_path of the sessions
// that it is given (package repository sets it). Nothing else in the database is
// touched.
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

// Table records which migrations a schema has. A schema that has it is outboxd's.
const Table = "outboxd_migrations"

// ErrPending says that the schema is older than the binary needs.
var ErrPending = errors.New("the database schema is not up to date")

// Migration is one numbered step and whether the schema has it.
type Migration struct {
	Version   int64
	Name      string
	AppliedAt time.Time // zero: pending
}

// Up creates the schema if it is missing, applies every pending migration and
// returns how many it applied. Any number of processes may call it at once: an
// advisory lock, one per schema, lets one of them work while the others wait up
// to five minutes. A schema that is up to date costs two queries and no lock.
//
// It looks first, and changes nothing in a schema that is somebody else's, nor
// in a database with the tables of an earlier build.
func Up(ctx context.Context, db *sql.DB, logger *slog.Logger) (int, error) {
	pending, _, err := count(ctx, db)
	if err != nil || pending == 0 {
		return 0, err
	}
	if err := locked(ctx, db, func(conn *sql.Conn) error { return makePlace(ctx, conn) }); err != nil {
		return 0, err
	}
	provider, err := newProvider(ctx, db, logger)
	if err != nil {
		return 0, err
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return len(results), fmt.Errorf("migrate up: %w", err)
	}
	return len(results), nil
}

// Down takes back the newest applied migration, and with it the data that only
// its tables hold; with the first, also the schema, if this role may create it
// again. It returns false if there is none.
func Down(ctx context.Context, db *sql.DB, logger *slog.Logger) (bool, error) {
	applied, err := appliedAt(ctx, db)
	if err != nil {
		return false, fmt.Errorf("read which migrations the schema has: %w", err)
	}
	if len(withoutFirst(applied)) == 0 {
		return false, nil
	}
	provider, err := newProvider(ctx, db, logger)
	if err != nil {
		return false, err
	}
	if _, err := provider.Down(ctx); errors.Is(err, goose.ErrNoNextVersion) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("migrate down: %w", err)
	}
	return true, locked(ctx, db, func(conn *sql.Conn) error { return clearPlace(ctx, conn) })
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
	return len(withoutFirst(applied)), nil
}

// withoutFirst leaves goose's own first entry out.
func withoutFirst(applied map[int64]time.Time) map[int64]time.Time {
	delete(applied, 0)
	return applied
}

// appliedAt reads goose's table itself. Asked for the status, goose would make
// the table where there is none, and a process that runs with --migrate=off may
// not have the right to.
func appliedAt(ctx context.Context, db interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
},
) (map[int64]time.Time, error) {
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

// Check returns ErrPending if the schema lacks a migration, or why it may not
// get it. It changes nothing.
func Check(ctx context.Context, db *sql.DB) error {
	pending, all, err := count(ctx, db)
	if err != nil || pending == 0 {
		return err
	}
	p, err := findPlace(ctx, db)
	if err != nil {
		return err
	}
	if err := p.refuse(); err != nil {
		return err
	}
	return fmt.Errorf("%w: %d of %d migrations of the schema %s are pending; run outboxd migrate up, or start with --migrate=auto",
		ErrPending, pending, all, quote(p.name))
}

func count(ctx context.Context, db *sql.DB) (pending, all int, err error) {
	status, err := Status(ctx, db)
	for _, m := range status {
		if m.AppliedAt.IsZero() {
			pending++
		}
	}
	return pending, len(status), err
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
	p, err := findPlace(ctx, db)
	if err != nil {
		return 0, err
	}
	hash := fnv.New64a()
	hash.Write([]byte("outboxd " + p.name))
	return int64(hash.Sum64()), nil //nolint:gosec // any 64 bits will do
}
