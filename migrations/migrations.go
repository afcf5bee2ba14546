// Package migrations holds the schema of outboxd as numbered SQL files, embedded in the binary, and runs them. The
// package also runs the SQL files of the example, which are in the package example.
//
// Each set of files fills one schema. The schema of outboxd is the first on the search_path of the sessions
// (package postgres sets it). The name of the example's schema is derived from it. Nothing else in the database
// changes.
//
// A released file is never edited: a later change of the schema is a new file.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed *.sql
var files embed.FS

// Table is the table that records which migrations were applied to outboxd's schema. A schema with this table
// belongs to outboxd.
const Table = "outboxd_migrations"

// Set is the migrations of one schema.
type Set struct {
	Files  fs.FS  // numbered SQL files
	Suffix string // follows the name of outboxd's schema; "": that schema itself
	// Table is the table that records which migrations were applied to the schema. Each set has another table name,
	// so the table shows to which set a schema belongs.
	Table string
	Flag  string // what to add to outboxd migrate up for this set, with a blank before it; "": nothing
}

// Core returns the migrations of outboxd itself.
func Core() Set { return Set{Files: files, Table: Table} }

// ErrPending means that the schema lacks migrations that this binary needs.
var ErrPending = errors.New("the database schema is not up to date")

// Migration is one numbered migration, and when it was applied.
type Migration struct {
	Version   int64
	Name      string
	AppliedAt time.Time // zero: pending
}

// IsApplied reports whether the migration was applied to the schema.
func (m Migration) IsApplied() bool { return !m.AppliedAt.IsZero() }

// Up creates the schema if it is missing, applies every pending migration and returns how many it applied. Any
// number of processes may call it at once: an advisory lock, one for each schema, lets one process work while the
// others wait up to five minutes. If the schema is up to date, Up needs two queries and no lock.
//
// Up checks the database before it changes anything. Up refuses a schema that another build made from other
// statements. If the schema has no migration of outboxd yet, Up refuses a schema with objects of another program, and
// a database with the tables of an earlier build of outboxd.
func (s Set) Up(ctx context.Context, db *sql.DB, logger *slog.Logger) (int, error) {
	pending, _, err := s.count(ctx, db)
	if err != nil || pending == 0 {
		return 0, err
	}
	if err := s.locked(ctx, db, func(conn *sql.Conn) error { return s.makePlace(ctx, conn) }); err != nil {
		return 0, err
	}
	p, err := s.findPlace(ctx, db)
	if err != nil {
		return 0, err
	}
	provider, err := p.newProvider(db, logger)
	if err != nil {
		return 0, err
	}
	// GetDBVersion creates the table that records the migrations.
	if _, err := provider.GetDBVersion(ctx); err != nil {
		return 0, fmt.Errorf("prepare the record of the migrations: %w", err)
	}
	if err := s.locked(ctx, db, func(conn *sql.Conn) error { return s.recordFingerprints(ctx, conn) }); err != nil {
		return 0, err
	}
	applied, err := p.upPatiently(ctx, db, provider, logger)
	if err != nil {
		return applied, fmt.Errorf("migrate up: %w", err)
	}
	return applied, nil
}

// Down reverts the newest applied migration. The data in its tables is lost, except that held events go back to the
// outbox, without their order, when the migration of ordering keys is reverted. Reverting the first migration also
// drops the schema, if this role may create it again. Down returns false if no migration is applied.
func (s Set) Down(ctx context.Context, db *sql.DB, logger *slog.Logger) (bool, error) {
	p, err := s.findPlace(ctx, db)
	if err != nil {
		return false, err
	}
	applied, err := p.appliedAt(ctx, db)
	if err != nil || len(withoutFirst(applied)) == 0 {
		return false, err
	}
	provider, err := p.newProvider(db, logger)
	if err != nil {
		return false, err
	}
	if _, err := provider.Down(ctx); errors.Is(err, goose.ErrNoNextVersion) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("migrate down: %w", err)
	}
	return true, s.locked(ctx, db, func(conn *sql.Conn) error { return s.clearPlace(ctx, conn) })
}

// Status lists all migrations that the binary knows, oldest first. Status changes
// nothing.
func (s Set) Status(ctx context.Context, db *sql.DB) ([]Migration, error) {
	_, migrations, err := s.status(ctx, db)
	return migrations, err
}

func (s Set) status(ctx context.Context, db *sql.DB) (place, []Migration, error) {
	p, err := s.findPlace(ctx, db)
	if err != nil {
		return p, nil, err
	}
	provider, err := p.newProvider(db, slog.New(slog.DiscardHandler))
	if err != nil {
		return p, nil, err
	}
	sources := provider.ListSources()
	migrations := make([]Migration, len(sources))
	for i, source := range sources {
		migrations[i] = Migration{Version: source.Version, Name: source.Path}
	}
	applied, err := p.appliedAt(ctx, db)
	if err != nil {
		return p, nil, err
	}
	for i := range migrations {
		migrations[i].AppliedAt = applied[migrations[i].Version]
	}
	return p, migrations, nil
}

// Unknown returns how many migrations were applied that this binary does not have. Such migrations exist while a
// newer version is rolled out, for example. Unknown changes nothing.
func (s Set) Unknown(ctx context.Context, db *sql.DB) (int, error) {
	known, err := s.Status(ctx, db)
	if err != nil {
		return 0, err
	}
	p, err := s.findPlace(ctx, db)
	if err != nil {
		return 0, err
	}
	applied, err := p.appliedAt(ctx, db)
	if err != nil {
		return 0, err
	}
	for _, m := range known {
		delete(applied, m.Version)
	}
	return len(withoutFirst(applied)), nil
}

// withoutFirst removes version 0, which goose records for itself.
func withoutFirst(applied map[int64]time.Time) map[int64]time.Time {
	delete(applied, 0)
	return applied
}

// appliedAt reads goose's table itself. Goose's own status call would create the table if it is missing, and a
// process with --migrate=off may lack the right to do so.
func (p place) appliedAt(ctx context.Context, db interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
},
) (map[int64]time.Time, error) {
	if !p.ours {
		return nil, nil
	}
	const doing = "read which migrations the schema has: %w"
	rows, err := db.QueryContext(ctx, "SELECT version_id, tstamp FROM "+p.table()+" WHERE is_applied")
	if err != nil {
		return nil, fmt.Errorf(doing, err)
	}
	defer rows.Close()
	applied := map[int64]time.Time{}
	for rows.Next() {
		var version int64
		var at time.Time
		if err := rows.Scan(&version, &at); err != nil {
			return nil, fmt.Errorf(doing, err)
		}
		applied[version] = at
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf(doing, err)
	}
	return applied, nil
}

// Check returns ErrPending if a migration was not applied. Check returns another error if outboxd may not use the
// schema. Check changes nothing.
func (s Set) Check(ctx context.Context, db *sql.DB) error {
	pending, all, err := s.count(ctx, db)
	if err != nil || pending == 0 {
		return err
	}
	p, err := s.findPlace(ctx, db)
	if err != nil {
		return err
	}
	if err := p.refuse(); err != nil {
		return err
	}
	return fmt.Errorf("%w: %d of %d migrations of the schema %s are pending; run outboxd migrate up%s, or start with --migrate=auto",
		ErrPending, pending, all, quote(p.name), s.Flag)
}

// count returns how many migrations are pending, and how many there are. count refuses a
// schema that another build made.
func (s Set) count(ctx context.Context, db *sql.DB) (pending, all int, err error) {
	p, migrations, err := s.status(ctx, db)
	if err != nil {
		return 0, 0, err
	}
	for _, m := range migrations {
		if !m.IsApplied() {
			pending++
		}
	}
	return pending, len(migrations), p.otherBuild(migrations)
}

func (p place) newProvider(db *sql.DB, logger *slog.Logger) (*goose.Provider, error) {
	locker, err := p.newLocker()
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, p.set.Files,
		goose.WithSessionLocker(brief{locker}), goose.WithTableName(p.name+"."+p.set.Table),
		goose.WithDisableGlobalRegistry(true), goose.WithSlog(logger))
	if err != nil {
		return nil, fmt.Errorf("prepare the migrations: %w", err)
	}
	return provider, nil
}

// newLocker returns the lock that a process holds while it changes the schema. Each schema of a database has its
// own lock.
//
// goose asks for the lock once a second instead of waiting inside PostgreSQL. CREATE INDEX
// CONCURRENTLY waits for all running statements, including a statement that waits for this
// lock. So if goose waited inside PostgreSQL, a migration could not use CREATE INDEX
// CONCURRENTLY.
func (p place) newLocker() (lock.SessionLocker, error) {
	hash := fnv.New64a()
	hash.Write([]byte("outboxd " + p.name))
	locker, err := lock.NewPostgresSessionLocker(
		lock.WithLockID(int64(hash.Sum64())), //nolint:gosec // any 64 bits will do
		lock.WithLockTimeout(1, 300), lock.WithUnlockTimeout(1, 60))
	if err != nil {
		return nil, fmt.Errorf("prepare the migration lock: %w", err)
	}
	return locker, nil
}

// locked takes the migration lock and then calls the function change, so that no other process changes the schema
// at the same time.
func (s Set) locked(ctx context.Context, db *sql.DB, change func(conn *sql.Conn) error) (err error) {
	p, err := s.findPlace(ctx, db)
	if err != nil {
		return err
	}
	locker, err := p.newLocker()
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
