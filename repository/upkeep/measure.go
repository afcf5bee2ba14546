package upkeep

import (
	"context"
	"fmt"
	"time"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/overview"
	"outboxd/repository/postgres"
	"outboxd/repository/search"
	"outboxd/repository/stored"
)

// entriesLimit is the largest number of account entries that a measurement counts. With
// more than 8,000 events a second, more entries than that are written between two rounds
// of housekeeping, which adds them up.
const entriesLimit = 500_000

// measurePatience bounds a measurement. If an old transaction prevents vacuum, even a
// bounded count may read millions of dead rows and take long; then no sample is written.
const measurePatience = 2 * time.Second

var lateSQL = fmt.Sprintf("interval '%g seconds'", overview.ConfirmedLate.Seconds())

// measureSQL writes a sample. measureSQL is one statement and so one transaction, so that
// an idle process needs few transactions.
//
//   - Emitted events are counted in the account and in the entries that no round has
//     added up yet: the entries of the last minute, or all entries that producers wrote
//     while no relay ran. Up to $5 entries are counted. If there are more, PostgreSQL's
//     own counter gives their number, and the statement assumes that the uncounted
//     entries are like the counted ones.
//   - The number of published events comes from the account, the entries, and the
//     counters that PostgreSQL keeps of the partitions of the history. The history has no
//     index by time, because such an index would cost something in every batch.
//     PostgreSQL's counters are about a second late, and start at zero after a crash.
//   - The time for which confirmations are counted ends overview.ConfirmedLate ago.
//   - A cancelled event also has a row in the inbox, but does not count as confirmed.
//   - The delays are measured on at most 1,000 confirmations of the last 20 seconds.
var measureSQL = `
WITH standing AS (` + search.StandingSQL + `
), before AS (
    SELECT at, emitted_total, enqueued_total FROM outbox_samples WHERE at > now() - interval '1 minute' ORDER BY at DESC LIMIT 1
), entries AS (
    SELECT count(*) FILTER (WHERE ` + stored.EmittedSQL + `) AS emitted, coalesce(sum(unrecorded), 0) AS unrecorded,
           CASE WHEN count(*) = $5 THEN greatest(pg_stat_get_live_tuples('outbox_entries'::regclass)::float8 / $5, 1) ELSE 1 END AS share
    FROM (SELECT unrecorded, repeated, deliveries FROM outbox_entries LIMIT $5) AS few
), totals AS (
    SELECT coalesce((SELECT sum(emitted) FROM outbox_account), 0) + (e.emitted * e.share)::bigint AS emitted,
           coalesce((SELECT sum(pg_stat_get_tuples_inserted(inhrelid)) FROM pg_inherits WHERE inhparent = 'outbox_sent'::regclass), 0)
             + coalesce((SELECT sum(unrecorded) FROM outbox_account), 0) + (e.unrecorded * e.share)::bigint AS enqueued
    FROM entries e
), delays AS (
    SELECT percentile_disc(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY delay) AS p
    FROM (
        SELECT greatest(extract(epoch FROM coalesce(began_at, processed_at)) - ('x' || translate(left(event_id::text, 13), '-', ''))::bit(48)::bigint / 1000.0, 0) AS delay
        FROM inbox i WHERE processed_at > now() - interval '20 seconds' AND substr(event_id::text, 15, 1) = '7'
          AND NOT EXISTS (SELECT FROM outbox_cancelled c WHERE c.id = i.event_id)
        ORDER BY processed_at DESC LIMIT 1000
    ) AS newest
), trimmed AS (
    DELETE FROM outbox_samples WHERE at < now() - interval '169 hours'
), sampled AS (
    INSERT INTO outbox_samples (at, relay, seconds, emitted, enqueued, confirmed, died,
        pending, held, dead, oldest_due, delay_p50, delay_p99, emitted_total, enqueued_total, queued)
    SELECT now(), $4, coalesce(extract(epoch FROM now() - b.at), 0),
        greatest(coalesce(t.emitted - b.emitted_total, 0), 0), greatest(coalesce(t.enqueued - b.enqueued_total, 0), 0),
        (SELECT count(*) FROM inbox i WHERE processed_at > b.at - ` + lateSQL + ` AND processed_at <= now() - ` + lateSQL + `
           AND NOT EXISTS (SELECT FROM outbox_cancelled c WHERE c.id = i.event_id)),
        (SELECT count(*) FROM outbox_dead WHERE died_at > b.at AND died_at <= now()),
        s.pending, s.held, s.dead, coalesce(extract(epoch FROM now() - s.oldest), 0), d.p[1], d.p[2], t.emitted, t.enqueued, $7::bigint
    FROM standing s CROSS JOIN totals t CROSS JOIN delays d LEFT JOIN before b ON true
)
SELECT standing.*,
       EXISTS (SELECT FROM outbox_schedules WHERE paused_at IS NULL AND next_at < now() + $6 * interval '1 second'),
       EXISTS (SELECT FROM outbox_cancelled WHERE removed_at IS NULL) OR EXISTS (SELECT FROM outbox_void_tasks WHERE removed_at IS NULL),
       EXISTS (SELECT FROM outbox_replays WHERE ended_at IS NULL),
       EXISTS (SELECT FROM outbox_requests)
FROM standing`

// Measure implements domain.Housekeeping.
func (h *Housekeeping) Measure(ctx context.Context, process domain.RelayProcess, queued *int64) (backlog domain.Backlog, chores domain.Chores, err error) {
	ctx, cancel := context.WithTimeout(ctx, measurePatience)
	defer cancel()
	var found search.Standing
	err = h.db.Pool().QueryRow(ctx, measureSQL, nil, lives.HeldKeysCounted, search.CountLimit, [16]byte(process.ID), entriesLimit, domain.ChoresAhead.Seconds(), queued).
		Scan(append(found.Targets(), &chores.Tick, &chores.Remove, &chores.Replays, &chores.Changes)...)
	if err != nil {
		return domain.Backlog{}, domain.Chores{}, postgres.Translate(err, "measure the backlog")
	}
	return found.Read(), chores, nil
}
