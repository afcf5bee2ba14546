package examine

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
)

// oldestVersion is the oldest PostgreSQL that the schema and the statements are
// written for.
const oldestVersion = 130000

// Settings and no system functions, since every role may read them.
const serverSQL = `
SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(),
       current_setting('fsync') = 'off' OR current_setting('full_page_writes') = 'off', current_setting('synchronous_commit') = 'off'`

func (e *Examiner) server(ctx context.Context, tx pgx.Tx) (found []domain.Finding, err error) {
	var number int
	var version string
	var standby, unsafe, lazy bool
	if err := tx.QueryRow(ctx, serverSQL).Scan(&number, &version, &standby, &unsafe, &lazy); err != nil {
		return nil, err
	}
	if number < oldestVersion {
		found = append(found, domain.Finding{
			Code: "postgres-version", Level: domain.FindingWarning,
			Found:       "PostgreSQL is version " + version + ", older than 13",
			Consequence: "migrations fail, or statements do at run time",
			Remedy:      "upgrade PostgreSQL with pg_upgrade",
		})
	}
	if standby {
		found = append(found, domain.Finding{
			Code: "postgres-read-only", Level: domain.FindingWarning,
			Found:       "PostgreSQL is a standby and takes no writes",
			Consequence: "nothing is relayed, and no event can be written",
			Remedy:      "name the primary in --database-url, or all servers with target_session_attrs=read-write",
		})
	}
	if unsafe {
		found = append(found, domain.Finding{
			Code: "postgres-fsync-off", Level: domain.FindingWarning,
			Found:       "PostgreSQL runs with fsync or full_page_writes off",
			Consequence: "a crash of the machine may destroy the database, events included",
			Remedy:      "ALTER SYSTEM SET fsync = on; ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf()",
		})
	}
	if lazy {
		found = append(found, domain.Finding{
			Code: "postgres-commits-later", Level: domain.FindingWarning,
			Found:       "synchronous_commit is off",
			Consequence: "a crash may lose the last commits, and the events that they wrote, although the producers were told that they are safe",
			Remedy:      "ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf()",
		})
	}
	return found, nil
}

func (e *Examiner) clock(ctx context.Context, tx pgx.Tx) ([]domain.Finding, error) {
	var there time.Time
	before := e.o.Now()
	if err := tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&there); err != nil {
		return nil, err
	}
	return domain.ClockFinding("postgres-clock", "PostgreSQL's", before, there, e.o.Now()), nil
}

// connectionsSQL finds the narrowest of the limits: the server's without what it
// reserves, the database's and the role's. Unlike pg_stat_activity's columns the
// counts are shown to every role. reserved_connections came with PostgreSQL 16.
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

func (e *Examiner) connections(ctx context.Context, tx pgx.Tx) ([]domain.Finding, error) {
	var of string
	var size, used, ours int64
	if err := tx.QueryRow(ctx, connectionsSQL).Scan(&of, &size, &used, &ours); err != nil {
		return nil, err
	}
	free, need := max(size-used, 0), int64(e.o.Conns)
	// What a process of ours has open already need not be free.
	short := free+min(ours, need) < need
	if !short && free*10 >= size {
		return nil, nil
	}
	return one(domain.Finding{
		Code: "postgres-connections", Level: domain.FindingWarning,
		Found: fmt.Sprintf("%d of the %d connections that %s allows are free, and one process of this configuration may open %d (%d of outboxd's are open)",
			free, size, of, need, ours),
		Consequence: "whoever connects next is refused (SQLSTATE 53300): producers fail, and relaying pauses as in an outage",
		Remedy:      "ALTER SYSTEM SET max_connections and restart, lower --database-max-conns, --relay-concurrency or --worker-concurrency, or put PgBouncer in between",
	}), nil
}
