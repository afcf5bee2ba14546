package examine

import (
	"cmp"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"outboxd/domain/diagnosis/thorough"
	"outboxd/repository/upkeep"
)

// leaderSQL returns the session that holds the leader's lock ($1 and $2 are the halves of
// the lock's key), and how long that session has been silent. PostgreSQL shows the times
// of a session only to the session's own role, to superusers, and to members of
// pg_read_all_stats, such as pg_monitor. For other roles the silence is 0.
const leaderSQL = `
SELECT l.pid, coalesce(a.application_name, ''), coalesce(extract(epoch FROM clock_timestamp() - a.state_change), 0)::float8
FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid::bigint = $1 AND l.objid::bigint = $2
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`

func (e *Examiner) leader(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	var schema string
	if err := tx.QueryRow(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
		return err
	}
	lock := uint64(upkeep.LeaderLock(schema)) //nolint:gosec // its bits
	l := thorough.Leader{Limit: cmp.Or(e.o.LeaderSilence, 2*upkeep.LeaderInterval)}
	var silent float64
	err := tx.QueryRow(ctx, leaderSQL, int64(lock>>32), int64(lock&0xffffffff)).Scan(&l.PID, &l.Application, &silent)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	l.Application, l.Silent = legible(l.Application), inSeconds(silent)
	facts.Leader = &l
	return nil
}
