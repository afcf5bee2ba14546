package examine

import (
	"context"

	"outboxd/domain/diagnosis/thorough"

	"github.com/jackc/pgx/v5"
)

// serverSQL reads only settings and calls only functions that every role may call.
const serverSQL = `
SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(),
       current_setting('fsync') = 'off' OR current_setting('full_page_writes') = 'off', current_setting('synchronous_commit') = 'off'`

func (e *Examiner) server(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	var p thorough.PostgresServer
	if err := tx.QueryRow(ctx, serverSQL).Scan(&p.Number, &p.Version, &p.Standby, &p.Unsafe, &p.CommitsLater); err != nil {
		return err
	}
	facts.Server = &p
	return nil
}

func (e *Examiner) clock(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	c := thorough.Clock{Before: e.o.Now()}
	if err := tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&c.There); err != nil {
		return err
	}
	c.After = e.o.Now()
	facts.Clock = &c
	return nil
}

// connectionsSQL compares three limits on connections: of the server, without the
// reserved connections, of the database, and of the role. It returns the limit that
// leaves the fewest connections. Every role may read the counts of connections, but not
// all columns of pg_stat_activity. The setting reserved_connections exists since
// PostgreSQL 16.
const connectionsSQL = `
WITH used AS (
    SELECT (SELECT sum(numbackends) FROM pg_stat_database) AS server,
           (SELECT numbackends FROM pg_stat_database WHERE datname = current_database()) AS database,
           (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user) AS role,
           (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND datname = current_database()
               AND application_name = current_setting('application_name')) AS ours
), limits (of, size, used) AS (
    SELECT 'max_connections', current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(nullif(current_setting('reserved_connections', true), ''), '0')::int, server FROM used
    UNION ALL SELECT 'the connection limit of the database', datconnlimit, database FROM pg_database, used
        WHERE datname = current_database() AND datconnlimit >= 0
    UNION ALL SELECT 'the connection limit of the role', rolconnlimit, role FROM pg_roles, used
        WHERE rolname = current_user AND rolconnlimit >= 0
)
SELECT of, size::bigint, used::bigint, (SELECT ours FROM used) FROM limits ORDER BY size - used LIMIT 1`

func (e *Examiner) connections(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	c := thorough.Connections{Need: int64(e.o.Conns)}
	if err := tx.QueryRow(ctx, connectionsSQL).Scan(&c.Limit, &c.Size, &c.Used, &c.Ours); err != nil {
		return err
	}
	facts.Connections = &c
	return nil
}
