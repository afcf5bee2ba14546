package upkeep

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

// A session holds back vacuum with its snapshot or, once it has written, with its
// transaction ID. oldestSnapshotSQL leaves out sessions of other databases, which do not
// hold back vacuum here, and the workers of autovacuum. It also leaves out a session
// whose times this role may not see, because the age of that session would be a guess.
const oldestSnapshotSQL = `
SELECT pid, begun FROM (
    SELECT pid, xact_start AS begun FROM pg_stat_activity
    WHERE coalesce(backend_xmin, backend_xid) IS NOT NULL AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
      AND datname = current_database() AND backend_type <> 'autovacuum worker'
    UNION ALL
    SELECT 0, prepared FROM pg_prepared_xacts WHERE database = current_database()
) AS open ORDER BY begun LIMIT 1`

// Upkeep implements domain.Housekeeping.
func (h *Housekeeping) Upkeep(ctx context.Context, history time.Duration) (domain.Upkeep, error) {
	const doing = "look at the tables' upkeep"
	ctx, cancel := context.WithTimeout(ctx, measurePatience)
	defer cancel()
	var u domain.Upkeep
	days, err := h.partitions(ctx)
	if err != nil {
		return u, postgres.Translate(err, doing)
	}
	now := time.Now()
	for day := range days {
		if isOverdue(day, now, history) {
			u.OverduePartitions++
		}
	}
	err = h.db.SQL().QueryRowContext(ctx, oldestSnapshotSQL).Scan(&u.Snapshot.PID, &u.Snapshot.Begun)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return u, postgres.Translate(err, doing)
}
