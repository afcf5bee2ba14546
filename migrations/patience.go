package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// How a migration waits for the lock of a table. Producers and relays queue behind a
// lock that waits, so it waits briefly and tries often. What it had changed is undone
// before the next attempt.
const (
	lockPatience = "500ms" // for one statement, as PostgreSQL has it
	lockPause    = 500 * time.Millisecond
	lockAttempts = 60
)

// brief is a locker whose sessions wait for locks of tables for lockPatience at most. A
// migration that has to wait for longer, such as one with CREATE INDEX CONCURRENTLY, sets
// lock_timeout itself and sets it back.
type brief struct{ lock.SessionLocker }

func (b brief) SessionLock(ctx context.Context, conn *sql.Conn) error {
	if err := b.SessionLocker.SessionLock(ctx, conn); err != nil {
		return err //nolint:wrapcheck // goose's own
	}
	_, err := conn.ExecContext(ctx, "SET lock_timeout = '"+lockPatience+"'")
	return err //nolint:wrapcheck // goose says what it was doing
}

func (b brief) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	// The connection goes back to the pool, whose sessions have no limit.
	if _, err := conn.ExecContext(ctx, "SET lock_timeout = 0"); err != nil {
		return err //nolint:wrapcheck // goose says what it was doing
	}
	return b.SessionLocker.SessionUnlock(ctx, conn) //nolint:wrapcheck // goose's own
}

// upPatiently applies what is pending, and begins again with the first migration that did
// not get its lock. It returns how many it applied.
func upPatiently(ctx context.Context, provider *goose.Provider, logger *slog.Logger) (applied int, err error) {
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
		timer := time.NewTimer(lockPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return applied, ctx.Err()
		case <-timer.C:
		}
	}
}
