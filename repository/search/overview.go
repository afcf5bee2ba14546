package search

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain/lives"
	"outboxd/domain/overview"
	"outboxd/domain/setup"
	"outboxd/repository/postgres"
)

// Overviews implements overview.Overviews. Overviews reads the samples that
// Housekeeping.Measure writes, and counts as Measure does.
type Overviews struct{ db *postgres.Database }

// NewOverviews returns the overviews of db.
func NewOverviews(db *postgres.Database) *Overviews { return &Overviews{db} }

var _ overview.Overviews = (*Overviews)(nil)

// lookPatience bounds one look. If an old transaction prevents vacuum, even a bounded
// count may read millions of dead rows and take long; then there is no overview.
const lookPatience = 2 * time.Second

var nowSQL = `SELECT now(), (SELECT count(*) FROM (SELECT FROM outbox WHERE available_at <= now() LIMIT $3) AS few),
       (SELECT died_at FROM outbox_dead ORDER BY died_at, id LIMIT 1),
       coalesce((SELECT min(queued) FROM outbox_samples WHERE at > now() - interval '5 minutes'), -1),
       coalesce((SELECT max(queued) FROM outbox_samples WHERE at > now() - interval '15 minutes' AND at < now() - interval '10 minutes'), -1),
       standing.* FROM (` + StandingSQL + `) AS standing`

// flowsSQL adds up the samples of three windows: 35 seconds, an hour and a day. A day has
// 8,640 samples, and the window of 35 seconds has three or four.
const flowsSQL = `
SELECT coalesce(sum(seconds), 0), coalesce(sum(emitted), 0)::bigint, coalesce(sum(enqueued), 0)::bigint,
       coalesce(sum(confirmed), 0)::bigint, coalesce(sum(died), 0)::bigint, max(at)
FROM unnest(ARRAY[35, 3600, 86400]) AS w (length) LEFT JOIN outbox_samples ON at > now() - length * interval '1 second'
GROUP BY length ORDER BY length`

// presentRelaysSQL marks as leader the relay that wrote the last sample, if that is less
// than a minute old.
const presentRelaysSQL = `
SELECT id, host, pid, version, asleep, started_at, seen_at,
       coalesce(id = (SELECT relay FROM outbox_samples WHERE at > now() - interval '1 minute' ORDER BY at DESC LIMIT 1), false)
FROM outbox_relays ORDER BY host, pid, id LIMIT 100`

// Standing implements overview.Overviews.
func (o *Overviews) Standing(ctx context.Context) (overview.Standing, error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	var s overview.Standing
	var found Standing
	var oldestDead *time.Time
	err := o.db.Pool().QueryRow(ctx, nowSQL, nil, lives.HeldKeysCounted, CountLimit).Scan(append([]any{&s.At, &s.Due, &oldestDead, &s.QueuedNow, &s.QueuedBefore}, found.Targets()...)...)
	if err != nil {
		return s, postgres.Translate(err, "look at where the events are")
	}
	s.Backlog = found.Read()
	if oldestDead != nil {
		s.OldestDead = *oldestDead
	}
	if err := o.flows(ctx, &s); err != nil {
		return s, postgres.Translate(err, "add up the samples")
	}
	if err := o.newest(ctx, &s); err != nil {
		return s, postgres.Translate(err, "count the newest events")
	}
	if err := o.died(ctx, &s); err != nil {
		return s, postgres.Translate(err, "count the latest dead letters")
	}
	if err := o.heals(ctx, &s); err != nil {
		return s, postgres.Translate(err, "read the heals")
	}
	rows, err := o.db.Pool().Query(ctx, presentRelaysSQL)
	if err != nil {
		return s, postgres.Translate(err, "read the relays")
	}
	s.Relays, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r overview.RelayStatus, err error) {
		err = row.Scan((*[16]byte)(&r.ID), &r.Host, &r.PID, &r.Version, &r.Asleep, &r.StartedAt, &r.SeenAt, &r.Leads)
		return r, err
	})
	if err != nil {
		return s, postgres.Translate(err, "read the relays")
	}
	s.Receivers, err = o.Receivers(ctx)
	return s, err
}

// receiversSQL selects the subscriptions whose deliveries wait: they are paused or removed, or
// their receiver is down.
const receiversSQL = `
SELECT name, paused_at IS NOT NULL, removed_at IS NOT NULL, CASE WHEN down_until > clock_timestamp() THEN down_since END, down_reason
FROM outbox_subscriptions WHERE paused_at IS NOT NULL OR removed_at IS NOT NULL OR down_until > clock_timestamp() ORDER BY name LIMIT 1000`

// Receivers returns the subscriptions whose deliveries wait, because they are paused or removed or
// their receiver is down: at most 1,000.
//
// Errors: domain.CodeUnavailable.
func (o *Overviews) Receivers(ctx context.Context) ([]overview.ReceiverStatus, error) {
	rows, err := o.db.Pool().Query(ctx, receiversSQL)
	if err != nil {
		return nil, postgres.Translate(err, "read the receivers")
	}
	list, err := pgx.CollectRows(rows, scanReceiver)
	return list, postgres.Translate(err, "read the receivers")
}

func scanReceiver(row pgx.CollectableRow) (r overview.ReceiverStatus, err error) {
	var since *time.Time
	var down setup.ReceiverDown
	err = row.Scan(&r.Subscription, &r.Paused, &r.Removed, &since, &down.Reason)
	if since != nil {
		down.Since = *since
		r.Down = &down
	}
	return r, err
}

func (o *Overviews) flows(ctx context.Context, s *overview.Standing) error {
	rows, err := o.db.Pool().Query(ctx, flowsSQL)
	if err != nil {
		return err
	}
	var f overview.Flow
	var newest *time.Time
	into := []*overview.Flow{&s.Now, &s.Hour, &s.Day}
	_, err = pgx.ForEachRow(rows, []any{&f.Seconds, &f.Emitted, &f.Enqueued, &f.Confirmed, &f.Died, &newest}, func() error {
		*into[0], into = f, into[1:]
		return nil
	})
	if newest != nil {
		s.SampledAt = *newest // from the last row, which is the longest window
	}
	return err
}

// diedSQL counts, up to $1, the dead letters that died within the hour.
const diedSQL = `SELECT count(*) FROM (SELECT FROM outbox_dead WHERE died_at > now() - interval '1 hour' LIMIT $1) AS few`

// The method died corrects the number of deaths in the last hour if there are more dead letters than that. The samples
// lack the deaths of the last seconds, of transactions that were open during a sample, and of a time without a relay.
// Without the correction, more dead letters might wait than events died.
func (o *Overviews) died(ctx context.Context, s *overview.Standing) error {
	if s.Dead <= s.Hour.Died {
		return nil
	}
	var died int64
	err := o.db.Pool().QueryRow(ctx, diedSQL, CountLimit).Scan(&died)
	s.Hour.Died = max(s.Hour.Died, died)
	return err
}

// historySQL combines the samples of each step, of $1 seconds, into one row. Percentiles cannot be
// averaged exactly. For a median the mean is good enough; of 99th percentiles the largest
// matters.
const historySQL = `
SELECT to_timestamp(floor(extract(epoch FROM at) / $1) * $1) AS step,
       sum(seconds)::float8, sum(emitted)::bigint, sum(enqueued)::bigint, sum(confirmed)::bigint, sum(died)::bigint,
       max(pending), max(held), max(dead), max(oldest_due)::float8,
       coalesce(avg(delay_p50), -1)::float8, coalesce(max(delay_p99), -1)::float8,
       coalesce(max(queued), -1)
FROM outbox_samples WHERE `

const (
	windowSQL  = historySQL + `at > now() - $2 * interval '1 second' GROUP BY 1 ORDER BY 1`
	betweenSQL = historySQL + `at >= $2 AND at <= $3 GROUP BY 1 ORDER BY 1`
)

// History implements overview.Overviews.
func (o *Overviews) History(ctx context.Context, window, step time.Duration) ([]overview.HistoryPoint, error) {
	return o.history(ctx, windowSQL, step.Seconds(), window.Seconds())
}

// HistoryBetween implements overview.Overviews.
func (o *Overviews) HistoryBetween(ctx context.Context, from, until time.Time, step time.Duration) ([]overview.HistoryPoint, error) {
	return o.history(ctx, betweenSQL, step.Seconds(), from, until)
}

func (o *Overviews) history(ctx context.Context, sql string, args ...any) ([]overview.HistoryPoint, error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	rows, err := o.db.Pool().Query(ctx, sql, args...)
	if err != nil {
		return nil, postgres.Translate(err, "read the history")
	}
	points, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p overview.HistoryPoint, err error) {
		var oldest, p50, p99 float64
		err = row.Scan(&p.At, &p.Seconds, &p.Emitted, &p.Enqueued, &p.Confirmed, &p.Died,
			&p.Pending, &p.Held, &p.Dead, &oldest, &p50, &p99, &p.Queued)
		p.OldestDue, p.DelayP50, p.DelayP99 = inSeconds(oldest), inSeconds(p50), inSeconds(p99)
		return p, err
	})
	return points, postgres.Translate(err, "read the history")
}

func inSeconds(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
