package migrations

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"regexp"
	"time"
)

const (
	// After vacuumPatience stopAutovacuum goes to no further table.
	vacuumPatience = 5 * time.Second
	// longestDeadlockTimeout is the longest deadlock_timeout, in milliseconds, for which stopAutovacuum waits.
	longestDeadlockTimeout = 5000
)

// beginner is a *sql.DB or a *sql.Conn.
type beginner interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
}

// vacuumedSQL lists the tables of a schema on which autovacuum has the lock of VACUUM, each with its name and the
// name of the table of which it is a partition. It lists nothing if deadlock_timeout is longer than $2. Every role
// may read pg_locks, and the user of each session in pg_stat_activity: of the sessions of a database, only those of
// autovacuum have no user. The progress of autovacuum is hidden from ordinary roles.
const vacuumedSQL = `
SELECT DISTINCT c.oid::regclass::text, c.relname::text, coalesce(root.relname, c.relname)::text
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class root ON root.oid = pg_partition_root(c.oid)
WHERE l.locktype = 'relation' AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted AND a.usesysid IS NULL
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND n.nspname = $1 AND c.relkind = 'r'
  AND (SELECT setting::bigint FROM pg_settings WHERE name = 'deadlock_timeout') <= $2`

// stopAutovacuum ends autovacuum on the tables of a schema that the statements name, so that a migration gets its
// lock. If the statements are not known, stopAutovacuum ends it on all tables of the schema. On a table with
// millions of rows autovacuum may hold its lock for longer than all attempts of a migration take together.
//
// PostgreSQL cancels autovacuum for a session that has waited for deadlock_timeout. The lock that a migration needs
// may not wait that long, because producers queue up behind it. So stopAutovacuum waits for the weaker lock of
// VACUUM, which keeps no producer, relay or worker waiting. PostgreSQL does not cancel an autovacuum that prevents
// transaction IDs from running out: then stopAutovacuum changes nothing. stopAutovacuum also changes nothing if
// deadlock_timeout is longer than longestDeadlockTimeout.
//
// The migration goes on without this aid, so stopAutovacuum only logs an error.
func stopAutovacuum(ctx context.Context, db beginner, schema, statements string, logger *slog.Logger) {
	until := time.Now().Add(vacuumPatience)
	tables, err := vacuumed(ctx, db, schema, statements)
	for _, table := range tables {
		if err == nil && time.Now().Before(until) {
			err = awaitVacuumLock(ctx, db, table)
		}
	}
	if err != nil && ctx.Err() == nil {
		logger.WarnContext(ctx, "cannot stop autovacuum of the tables that a migration waits for", "error", err)
	}
}

// awaitVacuumLock waits for the lock of VACUUM on a table, for at most 500 ms longer than deadlock_timeout.
func awaitVacuumLock(ctx context.Context, db beginner, table string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, "SELECT set_config('lock_timeout', setting::bigint + 500 || 'ms', true) FROM pg_settings WHERE name = 'deadlock_timeout'"); err != nil {
		return fmt.Errorf("limit the wait for autovacuum: %w", err)
	}
	_, _ = tx.ExecContext(ctx, "LOCK TABLE "+table+" IN SHARE UPDATE EXCLUSIVE MODE") // the next attempt says what is in its way
	return nil
}

// vacuumed returns the tables of a schema that autovacuum works on and that the statements name. A partition counts as
// named if the statements name its table. Without statements, the result is all tables that autovacuum works on.
func vacuumed(ctx context.Context, db beginner, schema, statements string) (tables []string, err error) {
	rows, err := db.QueryContext(ctx, vacuumedSQL, schema, longestDeadlockTimeout)
	if err != nil {
		return nil, fmt.Errorf("look for autovacuum: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var table, name, root string
		if err := rows.Scan(&table, &name, &root); err != nil {
			return nil, fmt.Errorf("look for autovacuum: %w", err)
		}
		if statements == "" || names(statements, name) || names(statements, root) {
			tables = append(tables, table)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look for autovacuum: %w", err)
	}
	return tables, nil
}

// names reports whether the statements contain the name as a word.
func names(statements, name string) bool {
	return regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).MatchString(statements)
}
