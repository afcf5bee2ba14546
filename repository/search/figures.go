package search

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain/figures"
	"outboxd/domain/setup"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// Figures implements figures.Store. Figures reads the samples that MeasureTypes writes,
// and counts waiting events up to a bound.
type Figures struct{ db *postgres.Database }

// NewFigures returns the figures of db.
func NewFigures(db *postgres.Database) *Figures { return &Figures{db} }

var _ figures.Store = (*Figures)(nil)

// pairsShown bounds the pairs of type and queue that are returned: those with the most
// events.
const pairsShown = 1000

// The statement counts up to $1 pending, $1 held and $1 dead events by type and queue. Of the dead letters it also
// counts those that died within the hour, because the samples lack the deaths of the last minute, of transactions
// that were open during a measurement, and of a time without a relay. The statement also reads the 1,000 pending
// events that are due first, so that the oldest one is among them. The samples of an hour are about 120 times 100
// rows at most: most minutes have two samples.
var pairsSQL = `
WITH parts AS (
    SELECT event_type, queue, count(*) AS pending, 0 AS held, 0 AS dead, 0 AS died, min(` + stored.Within("available_at") + `) FILTER (WHERE available_at <= now()) AS due
    FROM (SELECT event_type, queue, available_at FROM outbox LIMIT $1) AS few GROUP BY 1, 2
    UNION ALL
    SELECT event_type, queue, 0, 0, 0, 0, min(` + stored.Within("available_at") + `)
    FROM (SELECT event_type, queue, available_at FROM outbox WHERE available_at <= now() ORDER BY available_at, id LIMIT 1000) AS first GROUP BY 1, 2
    UNION ALL SELECT event_type, queue, 0, count(*), 0, 0, NULL FROM (SELECT event_type, queue FROM outbox_held LIMIT $1) AS few GROUP BY 1, 2
    UNION ALL SELECT event_type, queue, 0, 0, count(*), count(*) FILTER (WHERE died_at > now() - $3 * interval '1 second'), NULL
    FROM (SELECT event_type, queue, died_at FROM outbox_dead LIMIT $1) AS few GROUP BY 1, 2
), waiting AS (
    SELECT event_type, queue, sum(pending)::bigint AS pending, sum(held)::bigint AS held, sum(dead)::bigint AS dead, sum(died)::bigint AS died, min(due) AS due FROM parts GROUP BY 1, 2
), passed (event_type, queue, c1, f1, d1, m1, t1, c2, f2, d2, m2, t2) AS (
    SELECT event_type, queue, ` + passedSQL("WHERE at > $2") + `, ` + passedSQL("") + `
    FROM outbox_type_samples WHERE at > $5 AND event_type <> '' GROUP BY 1, 2
)
SELECT event_type, queue, coalesce(pending, 0), coalesce(held, 0), coalesce(dead, 0), due,
       coalesce(c1, 0), coalesce(f1, 0), coalesce(d1, 0), coalesce(m1, -1), coalesce(t1, -1), coalesce(c2, 0), coalesce(f2, 0), greatest(d2, died, 0), coalesce(m2, -1), coalesce(t2, -1),
       coalesce(sum(pending) OVER () >= $1, false), coalesce(sum(held) OVER () >= $1, false), coalesce(sum(dead) OVER () >= $1, false)
FROM waiting FULL JOIN passed USING (event_type, queue)
ORDER BY coalesce(pending, 0) + coalesce(held, 0) + coalesce(dead, 0) + coalesce(c2, 0) DESC, event_type, queue LIMIT $4`

// passedSQL selects the columns of a Passed, from the rows for which a condition is true.
func passedSQL(which string) string {
	filter := ""
	if which != "" {
		filter = " FILTER (" + which + ")"
	}
	return `coalesce(sum(confirmed)` + filter + `, 0)::bigint, coalesce(sum(failed)` + filter + `, 0)::bigint, coalesce(sum(died)` + filter + `, 0)::bigint,
           coalesce(sum(delay_p50 * confirmed)` + filter + ` / nullif(sum(confirmed)` + filter + `, 0), -1)::float8, coalesce(max(delay_p99)` + filter + `, -1)::float8`
}

// measuredSQL reads the time of the last measurement, and how many seconds of each window were measured, from the rows
// without type and queue. Both windows end with the last measurement, so that the figures do not change until the next
// one. If that measurement is older than the shorter window, nothing recent is known.
const measuredSQL = `
SELECT now(), max(until), coalesce(sum(seconds) FILTER (WHERE at > until - $1 * interval '1 second' AND until > now() - $1 * interval '1 second'), 0), coalesce(sum(seconds), 0)
FROM (SELECT at, seconds, max(at) OVER () AS until FROM outbox_type_samples WHERE at > now() - 2 * $2 * interval '1 second' AND event_type = '' AND queue = '') AS measured
WHERE until > now() - $2 * interval '1 second' AND at > until - $2 * interval '1 second'`

// emittedSQL reads the account of the present day, and up to $1 entries that the leader has not added up yet,
// usually those of the last minute. The last column says whether there are $1 entries or more.
const emittedSQL = `
WITH few AS MATERIALIZED (SELECT event_type, unrecorded, repeated, deliveries FROM outbox_entries LIMIT $1)
SELECT event_type, sum(n)::bigint, (SELECT count(*) FROM few) >= $1 FROM (
    SELECT event_type, emitted AS n FROM outbox_account WHERE day = (now() AT TIME ZONE 'UTC')::date
    UNION ALL SELECT event_type, 1 FROM few WHERE ` + stored.EmittedSQL + `
) AS counts GROUP BY 1 ORDER BY 2 DESC LIMIT $2`

// Snapshot implements figures.Store.
func (f *Figures) Snapshot(ctx context.Context) (s figures.Snapshot, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	s.Emitted = map[string]int64{}
	if s.At, s.Measurement, err = f.measured(ctx); err != nil {
		return s, postgres.Translate(err, "read how long was measured")
	}
	rows, err := f.db.Pool().Query(ctx, pairsSQL, figures.Counted, begin(s.MeasuredUntil, figures.Recent, s.RecentMeasured), figures.Long.Seconds(), pairsShown, begin(s.MeasuredUntil, figures.Long, s.HourMeasured))
	if err != nil {
		return s, postgres.Translate(err, "look at types and queues")
	}
	s.Pairs, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (p figures.Stored, err error) {
		var due *time.Time
		var recent, hour passedRow
		err = row.Scan(append(append([]any{&p.Type, &p.Queue, &p.Pending, &p.Held, &p.Dead, &due}, recent.targets()...), append(hour.targets(), &s.Cut.Pending, &s.Cut.Held, &s.Cut.Dead)...)...)
		p.Recent, p.Hour = recent.read(), hour.read()
		if due != nil {
			p.OldestDue = *due
		}
		return p, err
	})
	if err != nil {
		return s, postgres.Translate(err, "look at types and queues")
	}
	s.Cut.Pairs = len(s.Pairs) == pairsShown
	rows, err = f.db.Pool().Query(ctx, emittedSQL, CountLimit, pairsShown)
	if err != nil {
		return s, postgres.Translate(err, "count the events of the day")
	}
	var name string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&name, &n, &s.Cut.Emitted}, func() error {
		s.Emitted[name] = n
		return nil
	})
	s.Cut.Emitted = s.Cut.Emitted || len(s.Emitted) == pairsShown
	return s, postgres.Translate(err, "count the events of the day")
}

func (f *Figures) measured(ctx context.Context) (now time.Time, m figures.Measurement, err error) {
	var until *time.Time
	var recent, hour float64
	err = f.db.Pool().QueryRow(ctx, measuredSQL, figures.Recent.Seconds(), figures.Long.Seconds()).Scan(&now, &until, &recent, &hour)
	if until != nil {
		m = figures.Measurement{MeasuredUntil: *until, RecentMeasured: inSeconds(recent), HourMeasured: inSeconds(hour)}
	}
	return now, m, err
}

// begin returns when a window begins that ends with the last measurement. The window is empty if nothing of it was measured.
func begin(until time.Time, window, measured time.Duration) *time.Time {
	if measured <= 0 {
		return nil
	}
	from := until.Add(-window)
	return &from
}

// passedRow is the columns of passedSQL.
type passedRow struct {
	figures.Passed
	p50, p99 float64
}

func (r *passedRow) targets() []any { return []any{&r.Confirmed, &r.Failed, &r.Died, &r.p50, &r.p99} }

func (r *passedRow) read() figures.Passed {
	r.P50, r.P99 = inSeconds(r.p50), inSeconds(r.p99)
	return r.Passed
}

// The first step is read whole, even if it begins before the window. The row without type and queue says how much of a
// step was measured, and whether its counts are estimates. The rows with a queue and no type have the number of tasks that waited in the queue.
var figuresHistorySQL = `
WITH measured AS (
    SELECT ` + stepSQL + ` AS step, sum(seconds)::float8 AS seconds, bool_or(estimated) AS estimated FROM outbox_type_samples
    WHERE at > ` + firstStepSQL + ` AND event_type = '' AND queue = '' GROUP BY 1
), passed (step, c, f, d, m, t, queued) AS (
    SELECT ` + stepSQL + `, ` + passedSQL("") + `, max(queued) FROM outbox_type_samples
    WHERE at > ` + firstStepSQL + ` AND ($3 = '' OR event_type = $3) AND ($4 = '' OR queue = $4) AND (event_type <> '' OR $4 <> '') GROUP BY 1
)
SELECT step, seconds, estimated, coalesce(c, 0), coalesce(f, 0), coalesce(d, 0), coalesce(m, -1), coalesce(t, -1), coalesce(queued, -1)
FROM measured LEFT JOIN passed USING (step) ORDER BY 1`

// stepSQL is the beginning of a sample's step, of $2 seconds. A sample covers the time before its own time.
// firstStepSQL is the beginning of the step that has the moment $1 seconds ago.
const (
	stepSQL      = `to_timestamp((ceil(extract(epoch FROM at) / $2) - 1) * $2)`
	firstStepSQL = `to_timestamp(floor(extract(epoch FROM now() - $1 * interval '1 second') / $2) * $2)`
)

// History implements figures.Store.
func (f *Figures) History(ctx context.Context, eventType, queue string, window, step time.Duration) ([]figures.Point, error) {
	const doing = "read the history of a type or queue"
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	rows, err := f.db.Pool().Query(ctx, figuresHistorySQL, window.Seconds(), step.Seconds(), eventType, queue)
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	points, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p figures.Point, err error) {
		var passed passedRow
		err = row.Scan(append(append([]any{&p.At, &p.Seconds, &p.Estimated}, passed.targets()...), &p.Queued)...)
		p.Passed = passed.read()
		return p, err
	})
	return points, postgres.Translate(err, doing)
}

// pausesSQL reads the last pause or resumption of each queue, and returns the pauses. It
// goes from one name to the next in the index outbox_actions_queue, and reads one row for
// each name, because the table keeps each pause for ever. If there are more than 1,000
// pauses, it returns those whose queues have the last names. For the other queues nobody
// learns who paused them, and no finding says that Redis lost the pause.
const pausesSQL = `
WITH RECURSIVE latest AS (
    (SELECT filter ->> 'queue' AS queue, at, actor, reason, action FROM outbox_actions
     WHERE action IN ('pause', 'resume') AND filter ->> 'queue' IS NOT NULL ORDER BY filter ->> 'queue' DESC, at DESC LIMIT 1)
    UNION ALL
    SELECT following.* FROM latest CROSS JOIN LATERAL (
        SELECT filter ->> 'queue', at, actor, reason, action FROM outbox_actions
        WHERE action IN ('pause', 'resume') AND filter ->> 'queue' < latest.queue ORDER BY filter ->> 'queue' DESC, at DESC LIMIT 1
    ) AS following
)
SELECT queue, at, actor, reason FROM latest WHERE action = 'pause' LIMIT 1000`

// onRecordSQL reads the last pause or resumption of one queue, from the same index.
const onRecordSQL = `
SELECT action = 'pause', at, actor, reason FROM outbox_actions WHERE action IN ('pause', 'resume') AND filter ->> 'queue' = $1 ORDER BY at DESC LIMIT 1`

// PauseOnRecord returns the last recorded pause of the queue; nil if the queue was resumed since, or never paused.
// Errors: domain.CodeUnavailable.
func (f *Figures) PauseOnRecord(ctx context.Context, queue string) (*setup.Pause, error) {
	var paused bool
	var last setup.Pause
	err := f.db.Pool().QueryRow(ctx, onRecordSQL, f.db.Storable(queue)).Scan(&paused, &last.Since, &last.By, &last.Reason)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !paused {
		return nil, nil
	}
	if err != nil {
		return nil, postgres.Translate(err, "look whether a queue was paused")
	}
	return &last, nil
}

// Pauses implements figures.Store.
func (f *Figures) Pauses(ctx context.Context) (map[string]setup.Pause, error) {
	const doing = "look who paused queues"
	rows, err := f.db.Pool().Query(ctx, pausesSQL)
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	recorded := map[string]setup.Pause{}
	var queue string
	var p setup.Pause
	_, err = pgx.ForEachRow(rows, []any{&queue, &p.Since, &p.By, &p.Reason}, func() error {
		recorded[queue] = p
		return nil
	})
	return recorded, postgres.Translate(err, doing)
}
