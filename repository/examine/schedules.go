package examine

import (
	"context"

	"github.com/jackc/pgx/v5"

	"outboxd/domain/diagnosis/thorough"
	"outboxd/domain/setup"
)

const lateSchedulesSQL = `
SELECT count(*), coalesce((array_agg(name ORDER BY next_at))[1], ''), coalesce(extract(epoch FROM clock_timestamp() - min(next_at)), 0)::float8,
       coalesce((array_agg(left(error, 300) ORDER BY next_at))[1], '')
FROM outbox_schedules WHERE paused_at IS NULL AND next_at < clock_timestamp() - $1 * interval '1 second'`

// schedules reads how many schedules have a tick that is late, and an example.
func (e *Examiner) schedules(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	var l thorough.LateSchedules
	var late float64
	if err := tx.QueryRow(ctx, lateSchedulesSQL, setup.MissedAfter.Seconds()).Scan(&l.Schedules, &l.Example, &late, &l.Error); err != nil {
		return err
	}
	l.Lateness, l.Error = inSeconds(late), legible(l.Error)
	facts.Late = &l
	return nil
}
