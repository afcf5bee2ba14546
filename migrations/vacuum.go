package migrations

import (
	"context"
	"database/sql"
	"fmt"
)

// beginner is a *sql.DB or a *sql.Conn.
type beginner interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
}

// vacuumedSQL lists the tables of a schema on which another session has the lock of VACUUM. Every role may read
// pg_locks. The progress of autovacuum is hidden from ordinary roles.
const vacuumedSQL = `
SELECT DISTINCT c.oid::regclass::text
FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.locktype = 'relation' AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND n.nspname = $1 AND c.relkind = 'r'`

// stopAutovacuum ends autovacuum on the tables of a schema, so that a migration gets its lock. On a table with
// millions of rows autovacuum may hold its lock for longer than all attempts of a migration take together.
//
// PostgreSQL cancels autovacuum for a session that has waited for deadlock_timeout. The lock that a migration needs
// may not wait that long, because producers queue up behind it. So stopAutovacuum waits for the weaker lock of
// VACUUM, which keeps no producer, relay or worker waiting. PostgreSQL does not cancel an autovacuum that prevents
// transaction IDs from running out, or a VACUUM of a person: then stopAutovacuum changes nothing.
func stopAutovacuum(ctx context.Context, db beginner, schema string) error {
	tables, err := vacuumed(ctx, db, schema)
	if err != nil {
		return err
	}
	for _, table := range tables {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		_, err = tx.ExecContext(ctx, "SELECT set_config('lock_timeout', setting::bigint + 500 || 'ms', true) FROM pg_settings WHERE name = 'deadlock_timeout'")
		if err == nil {
			_, _ = tx.ExecContext(ctx, "LOCK TABLE "+table+" IN SHARE UPDATE EXCLUSIVE MODE") // the next attempt says what is in its way
		}
		_ = tx.Rollback()
		if err != nil {
			return fmt.Errorf("limit the wait for autovacuum: %w", err)
		}
	}
	return nil
}

func vacuumed(ctx context.Context, db beginner, schema string) (tables []string, err error) {
	rows, err := db.QueryContext(ctx, vacuumedSQL, schema)
	if err != nil {
		return nil, fmt.Errorf("look for autovacuum: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			return nil, fmt.Errorf("look for autovacuum: %w", err)
		}
		tables = append(tables, table)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look for autovacuum: %w", err)
	}
	return tables, nil
}
