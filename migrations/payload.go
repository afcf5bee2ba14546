package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// How LimitPayload waits for the lock on the table. Producers and relays queue
// behind a waiting lock, so it waits briefly and tries often.
const (
	payloadLockPatience = 300 * time.Millisecond // for one attempt, and between two attempts
	payloadLockAttempts = 10
)

// payloadPrefix begins the name of the constraint that limits payloads. The
// limit follows it, because a producer sees only that name in PostgreSQL's
// error.
const payloadPrefix = "outbox_payload_has_at_most_"

const payloadLimitsSQL = `
SELECT conname, coalesce(substring(pg_get_constraintdef(oid) FROM 'octet_length\(payload\) <= (\d+)')::bigint, 0)
FROM pg_constraint
WHERE conrelid = to_regclass('outbox') AND contype = 'c' AND starts_with(conname::text, '` + payloadPrefix + `')
ORDER BY 2`

// PayloadLimit returns the largest payload, in bytes, that the outbox takes; 0
// if nothing limits it.
func PayloadLimit(ctx context.Context, db *sql.DB) (int, error) {
	_, limit, err := payloadConstraints(ctx, db)
	return limit, err
}

// LimitPayload makes limit, in bytes, the largest payload that the outbox
// takes, and reports whether that changed anything. Rows that exist are exempt,
// also when they return to the outbox after a failure or from the history. A
// limit that is in force costs one query and no lock; to change it, processes
// take turns as they do for Up.
//
// It is an error if other transactions hold the table for several seconds.
func LimitPayload(ctx context.Context, db *sql.DB, limit int, logger *slog.Logger) (bool, error) {
	doing := fmt.Sprintf("limit payloads to %d bytes", limit)
	before, err := PayloadLimit(ctx, db)
	if err != nil || before == limit {
		return false, err
	}
	changed := false
	err = Core().locked(ctx, db, func(conn *sql.Conn) error {
		for attempt := 1; ; attempt++ {
			changed, err = limitPayload(ctx, conn, limit)
			if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.Code != "55P03" {
				return err
			}
			if attempt == payloadLockAttempts {
				return fmt.Errorf("other transactions keep the table outbox in use; end them, or run outboxd migrate up at a quieter time: %w", err)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(payloadLockPatience):
			}
		}
	})
	if err != nil {
		return false, fmt.Errorf("%s: %w", doing, err)
	}
	if changed {
		logger.InfoContext(ctx, "changed the payload limit", "bytes", limit, "bytes_before", before)
	}
	return changed, nil
}

// limitPayload is one attempt.
//
// Rows made before the change are exempt: the relay puts rows back that it
// could not deliver, and a lowered limit must not stop that. The constraint
// names the moment of the change; a CHECK must not depend on the clock. NOT
// VALID, because reading the whole table under this lock would find nothing.
func limitPayload(ctx context.Context, conn *sql.Conn, limit int) (bool, error) {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, statement := range []string{
		fmt.Sprintf("SET LOCAL lock_timeout = %d", payloadLockPatience.Milliseconds()),
		"LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE",
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return false, err
		}
	}
	names, before, err := payloadConstraints(ctx, tx)
	if err != nil || before == limit {
		return false, err // another process has set this limit
	}
	// Read under the lock: no open transaction can then insert an older row.
	var change time.Time
	if err := tx.QueryRowContext(ctx, "SELECT clock_timestamp()").Scan(&change); err != nil {
		return false, err
	}
	var changes []string
	for _, name := range names {
		changes = append(changes, fmt.Sprintf(`DROP CONSTRAINT "%s"`, name))
	}
	changes = append(changes, fmt.Sprintf(`ADD CONSTRAINT "%s" CHECK (octet_length(payload) <= %d OR created_at < '%s') NOT VALID`,
		payloadPrefix+payloadSize(limit), limit, change.UTC().Format("2006-01-02 15:04:05.999999Z07:00")))
	if _, err := tx.ExecContext(ctx, "ALTER TABLE outbox "+strings.Join(changes, ", ")); err != nil {
		return false, err
	}
	return true, tx.Commit()
}

// payloadConstraints returns the names of the constraints that limit payloads,
// normally one, and the strictest limit.
func payloadConstraints(ctx context.Context, db interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
},
) (names []string, limit int, err error) {
	rows, err := db.QueryContext(ctx, payloadLimitsSQL)
	if err != nil {
		return nil, 0, fmt.Errorf("read the payload limit: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var bytes int
		if err := rows.Scan(&name, &bytes); err != nil {
			return nil, 0, fmt.Errorf("read the payload limit: %w", err)
		}
		if names = append(names, name); len(names) == 1 {
			limit = bytes
		}
	}
	if err := rows.Err(); err != nil {
		return nil, 0, fmt.Errorf("read the payload limit: %w", err)
	}
	return names, limit, nil
}

// payloadSize writes a limit as it stands in the constraint's name.
func payloadSize(bytes int) string {
	switch {
	case bytes%(1<<20) == 0:
		return fmt.Sprintf("%d_mib", bytes>>20)
	case bytes%(1<<10) == 0:
		return fmt.Sprintf("%d_kib", bytes>>10)
	default:
		return fmt.Sprintf("%d_bytes", bytes)
	}
}
