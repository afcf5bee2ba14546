package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// How a migration waits for the lock of a table. Producers and relays queue up behind a waiting lock request, so a
// migration waits briefly and tries often. After a failed attempt its changes are rolled back, unless its file
// says NO TRANSACTION.
const (
	lockPatience = "500ms" // for one statement, in PostgreSQL's notation
	lockPause    = 500 * time.Millisecond
	lockAttempts = 60
)

// brief is a locker that sets lock_timeout to lockPatience in its session. A migration that must wait longer, for
// example for CREATE INDEX CONCURRENTLY, must set lock_timeout itself and restore it.
type brief struct{ lock.SessionLocker }

func (b brief) SessionLock(ctx context.Context, conn *sql.Conn) error {
	if err := b.SessionLocker.SessionLock(ctx, conn); err != nil {
		return err //nolint:wrapcheck // goose's own
	}
	_, err := conn.ExecContext(ctx, "SET lock_timeout = '"+lockPatience+"'")
	return err //nolint:wrapcheck // goose says what it was doing
}

func (b brief) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	// The connection returns to the pool, whose sessions have no lock_timeout.
	if _, err := conn.ExecContext(ctx, "SET lock_timeout = 0"); err != nil {
		return err //nolint:wrapcheck // goose says what it was doing
	}
	return b.SessionLocker.SessionUnlock(ctx, conn) //nolint:wrapcheck // goose's own
}

// failedSQL returns the text of the migration that failed; "" if it is not known.
func (p place) failedSQL(err error) string {
	partial, ok := errors.AsType[*goose.PartialError](err)
	if !ok || partial.Failed == nil || partial.Failed.Source == nil {
		return ""
	}
	text, err := fs.ReadFile(p.set.Files, partial.Failed.Source.Path)
	if err != nil {
		return ""
	}
	return string(text)
}

// upPatiently applies the pending migrations. If a migration does not get a lock in time, upPatiently tries
// to stop autovacuum of its tables and begins again from that migration on, with at most lockAttempts
// attempts for all migrations together. upPatiently returns how many migrations it applied.
func (p place) upPatiently(ctx context.Context, db *sql.DB, provider *goose.Provider, logger *slog.Logger) (applied int, err error) {
	for attempt := 1; ; attempt++ {
		results, err := provider.Up(ctx)
		applied += len(results)
		if partial, ok := errors.AsType[*goose.PartialError](err); ok {
			applied += len(partial.Applied)
		}
		if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.Code != "55P03" {
			return applied, err //nolint:wrapcheck // the caller does
		}
		if attempt == lockAttempts {
			return applied, fmt.Errorf("other transactions keep a table of outboxd in use; end them, or run outboxd migrate up at a quieter time: %w", err)
		}
		if attempt == 1 {
			logger.InfoContext(ctx, "a migration waits for transactions that use its table, and lets others pass meanwhile", "error", err)
		}
		stopAutovacuum(ctx, db, p.name, p.failedSQL(err), logger)
		timer := time.NewTimer(lockPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return applied, ctx.Err()
		case <-timer.C:
		}
	}
}
