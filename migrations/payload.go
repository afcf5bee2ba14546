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

// How LimitPayload waits for the lock on the table outbox. Producers and relays queue up behind a waiting lock
// request, so LimitPayload waits briefly and tries often.
const (
	payloadLockPatience = 300 * time.Millisecond // for one attempt, and between two attempts
	payloadLockAttempts = 10
)

// payloadPrefix is the beginning of the name of the constraint that limits payloads. The limit follows it in the
// name, because PostgreSQL's error shows a producer only that name.
const payloadPrefix = "outbox_payload_has_at_most_"

const payloadLimitsSQL = `
SELECT conname, coalesce(substring(pg_get_constraintdef(oid) FROM 'octet_length\(payload\) <= (\d+)')::bigint, 0)
FROM pg_constraint
WHERE conrelid = to_regclass('outbox') AND contype = 'c' AND starts_with(conname::text, '` + payloadPrefix + `')
ORDER BY 2`

// PayloadLimit returns the size of the largest payload that the outbox accepts, in bytes. 0 means no limit,
// or no outbox.
func PayloadLimit(ctx context.Context, db *sql.DB) (int, error) {
	_, limit, err := payloadConstraints(ctx, db)
	return limit, err
}

// LimitPayload sets limit as the size of the largest payload that the outbox accepts, in bytes. LimitPayload reports
// whether that changed anything. Existing rows are exempt, even when they return to outbox later, for example after a
// failure. The events of transactions that have begun before the change are exempt too. If the limit is already in
// force, LimitPayload needs one query and no lock. To change the limit it takes the same advisory lock as Up.
//
// LimitPayload returns an error if other transactions keep locks on the table for several seconds.
func LimitPayload(ctx context.Context, db *sql.DB, limit int, logger *slog.Logger) (bool, error) {
	doing := fmt.Sprintf("limit payloads to %d bytes", limit)
	before, err := PayloadLimit(ctx, db)
	if err != nil || before == limit {
		return false, err
	}
	p, err := Core().findPlace(ctx, db)
	if err != nil {
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
			stopAutovacuum(ctx, conn, p.name, "outbox", logger)
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

// limitPayload makes one attempt to replace the constraint.
//
// Events that were created before the change are exempt: the relay puts events back that it could not publish, and
// a lower limit must not prevent that. The constraint contains the time of the change as a constant, because a
// CHECK must not depend on the clock. The constraint is NOT VALID, because validating the whole table under this
// lock would find nothing.
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
	// Read the time under the lock, so that the rows of all transactions that have written to the table are older.
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

// payloadConstraints returns the names of the constraints that limit payloads (normally one), and the lowest limit.
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

// payloadSize formats a limit as in the name of the constraint.
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
