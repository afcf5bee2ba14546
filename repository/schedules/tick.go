package schedules

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/crashpoint"
	"outboxd/domain/setup"
	"outboxd/repository/postgres"
)

var _ setup.Schedules = (*Store)(nil)

// The time never is stored as the next tick of a schedule that will not tick any more.
var never = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// longestSleep is the largest value of Ticks.Next. failurePause is the value of
// Ticks.Next if a tick failed and the database could not record the failure. If a person
// applies a schedule that ticks sooner than all others, the leader learns that from its
// next measurement (domain.Chores).
const (
	longestSleep = 10 * time.Minute
	failurePause = 15 * time.Second
)

// shortestSleep is the value of Ticks.Next if a tick is already due. The value 0 means that nothing
// is known.
const shortestSleep = time.Millisecond

const (
	// dueAtOnce is the largest number of schedules that one call of Tick looks at.
	dueAtOnce = 1000

	// Schedules that failed come last, so that they do not displace the others.
	dueSQL = `
SELECT id, cron, time_zone, missed, next_at, changed_at, clock_timestamp() FROM outbox_schedules
WHERE paused_at IS NULL AND next_at <= clock_timestamp() ORDER BY failed_at IS NOT NULL, next_at LIMIT $1`

	// The tick of a schedule that fails stays due all the time, so it does not count when
	// the time of the next call is computed. The failed tick is tried again together with
	// the next tick of another schedule, or after the leader's next measurement.
	nextSQL = `
SELECT coalesce((extract(epoch FROM min(next_at) - clock_timestamp()) * 1000000)::bigint, $1)
FROM outbox_schedules WHERE paused_at IS NULL AND next_at < now() + interval '1 day' AND (failed_at IS NULL OR next_at > clock_timestamp())`
)

// One statement, and so one transaction, inserts the events and moves the schedule to its
// next tick. emitSQL does nothing if another leader has emitted the tick, or if a person
// has changed, paused or removed the schedule. The events are inserted in the order of the
// ticks, so they have this order within their ordering key.
const emitSQL = `
WITH moved AS (
    UPDATE outbox_schedules SET next_at = $4, last_at = $5, emitted = emitted + cardinality($6::timestamptz[]), left_out = left_out + $7, failed_at = NULL, error = ''
    WHERE id = $1 AND next_at = $2 AND changed_at = $3 AND paused_at IS NULL
    RETURNING *
), emitted AS (
    INSERT INTO outbox (id, event_type, payload, headers, queue, max_retry, timeout_seconds, retention_seconds, unique_seconds, ordering_key)
    SELECT outbox_tick_id(m.id, tick), event_type, payload,
           headers || jsonb_build_object('` + setup.HeaderSchedule + `', name, '` + setup.HeaderTick + `', to_char(tick AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')),
           queue, max_retry, timeout_seconds, retention_seconds, unique_seconds, ordering_key
    FROM moved m, unnest($6::timestamptz[]) WITH ORDINALITY AS ticks (tick, n) ORDER BY n
    ON CONFLICT (id) DO NOTHING
    RETURNING 1
)
SELECT count(*), (SELECT count(*) FROM moved) FROM emitted`

const failedSQL = `
UPDATE outbox_schedules SET failed_at = coalesce(failed_at, clock_timestamp()), error = $4 WHERE id = $1 AND next_at = $2 AND changed_at = $3`

// The type due is a schedule whose tick is due.
type due struct {
	id             domain.ID
	cron, timeZone string
	missed         setup.MissedRule
	next, changed  time.Time
	now            time.Time
}

// Tick implements setup.Schedules.
func (s *Store) Tick(ctx context.Context) (ticks setup.Ticks, err error) {
	const doing = "emit the events of schedules"
	rows, err := s.db.Pool().Query(ctx, dueSQL, dueAtOnce)
	if err != nil {
		return ticks, postgres.TranslateWork(err, doing)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d due, err error) {
		err = row.Scan((*[16]byte)(&d.id), &d.cron, &d.timeZone, &d.missed, &d.next, &d.changed, &d.now)
		return d, err
	})
	if err != nil {
		return ticks, postgres.TranslateWork(err, doing)
	}
	var failed error
	noted := true
	for i := range list {
		emitted, leftOut, unnoted, err := s.emit(ctx, &list[i])
		ticks.Emitted, ticks.LeftOut = ticks.Emitted+emitted, ticks.LeftOut+leftOut
		if err != nil {
			ticks.Lateness = max(ticks.Lateness, list[i].now.Sub(list[i].next))
			failed = errors.Join(failed, err)
			noted = noted && !unnoted
		}
		if ctx.Err() != nil {
			return ticks, ctx.Err()
		}
	}
	var micros int64
	if err := s.db.Pool().QueryRow(ctx, nextSQL, longestSleep.Microseconds()).Scan(&micros); err != nil {
		return ticks, postgres.TranslateWork(err, doing)
	}
	ticks.Next = min(max(time.Duration(micros)*time.Microsecond, shortestSleep), longestSleep)
	if !noted {
		ticks.Next = failurePause // the database fails, not a schedule
	}
	return ticks, failed
}

// emit emits the due ticks of a schedule and moves the schedule to its next tick. unnoted
// says that the error was not recorded in the schedule's row.
func (s *Store) emit(ctx context.Context, d *due) (emitted, leftOut int64, unnoted bool, err error) {
	cron, err := Parse(d.cron, d.timeZone)
	if err == nil {
		p := cron.plan(d.next, d.now, d.missed)
		if p.next.IsZero() {
			p.next = never
		}
		if p.last.IsZero() {
			p.last = d.next
		}
		crashpoint.Reach(crashpoint.ScheduleDecided)
		var moved int64
		err = s.db.Pool().QueryRow(ctx, emitSQL, [16]byte(d.id), d.next, d.changed, p.next, p.last, append([]time.Time{}, p.emit...), p.leftOut).Scan(&emitted, &moved)
		crashpoint.Reach(crashpoint.ScheduleEmitted)
		if err == nil {
			return emitted, p.leftOut * moved, false, nil
		}
	}
	if postgres.IsUnavailable(err) || ctx.Err() != nil {
		return 0, 0, true, postgres.TranslateWork(err, "emit the event of a schedule")
	}
	_, noted := s.db.Pool().Exec(ctx, failedSQL, [16]byte(d.id), d.next, d.changed, s.db.ErrorText(err))
	if noted != nil {
		err = errors.Join(err, noted)
	}
	return 0, 0, noted != nil, postgres.TranslateWork(fmt.Errorf("schedule %s: %w", d.id, err), "emit the event of a schedule")
}
