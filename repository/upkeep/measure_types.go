package upkeep

import (
	"context"

	"outboxd/domain/lives"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// measureTypesSQL writes the samples of a minute by type and queue: how many events were
// confirmed, failed and died, and their delays. The statement covers the time up to
// overview.ConfirmedLate ago.
//
//   - Of the confirmations it reads the 200 latest of each sixth of that time, and looks up
//     the type and queue of each by its ID. If there may have been more, the counts are
//     scaled to the number that measureSQL counted.
//   - The event of a failed attempt is also looked up by its ID. The statement reads the
//     5,000 latest entries of the journal, of any kind, and the 5,000 latest dead letters.
//     If there were more in that time, failures and deaths are missing.
//   - A death whose dead letter was replayed before the measurement is found in the journal.
//     A death whose dead letter was discarded is not seen, because no table has the event's
//     type any more.
//   - Each limit is applied before the lower bound of the span: otherwise PostgreSQL might
//     read and sort all rows of the span.
//   - Confirmed events that are not in the history are not seen: cancelled ones, or all of
//     them if no history is kept.
var measureTypesSQL = `
WITH span AS (
    SELECT coalesce(max(at), now() - interval '1 minute') - ` + lateSQL + ` AS begun, now() - ` + lateSQL + ` AS ended
    FROM outbox_type_samples WHERE at > now() - interval '2 minutes'
), newest AS MATERIALIZED (
    SELECT c.event_id, c.processed_at, n FROM span, generate_series(0, 5) AS n, LATERAL (
        SELECT event_id, processed_at FROM inbox WHERE processed_at <= begun + (n + 1) * (ended - begun) / 6 ORDER BY processed_at DESC LIMIT 200
    ) AS c WHERE processed_at > begun + n * (ended - begun) / 6
), scale AS (
    SELECT CASE WHEN (SELECT max(many) FROM (SELECT count(*) AS many FROM newest GROUP BY n) AS parts) = 200
        THEN greatest((SELECT sum(confirmed) FROM outbox_samples, span WHERE at > begun + ` + lateSQL + `)::float8 / (SELECT count(*) FROM newest), 1) ELSE 1 END AS factor
), confirmed AS (
    SELECT event_type, queue, count(*) AS n, percentile_disc(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY delay) AS p
    FROM newest CROSS JOIN LATERAL (
        SELECT s.event_type, s.queue, CASE WHEN substr(event_id::text, 15, 1) = '7' OR substr(event_id::text, 15, 1) = '8' AND substr(event_id::text, 20, 1) IN ('a', 'b')
            THEN greatest(extract(epoch FROM processed_at) - ('x' || translate(left(event_id::text, 13), '-', ''))::bit(48)::bigint / 1000.0, 0) END AS delay
        FROM outbox_sent s WHERE s.id = event_id ORDER BY s.generation DESC LIMIT 1
    ) AS e GROUP BY 1, 2
), noted AS (
    SELECT e.event_type, e.queue, count(*) FILTER (WHERE j.entry <> 'died') AS failed, count(*) FILTER (WHERE j.entry = 'died' AND e.place <> 'dead') AS died
    FROM (
        SELECT event_id, entry, at, begun FROM span, LATERAL (SELECT event_id, entry, at FROM outbox_journal WHERE at <= ended ORDER BY at DESC, id DESC LIMIT 5000) AS latest
    ) AS j CROSS JOIN LATERAL (
        SELECT * FROM (` + stored.Places.Only(lives.StatePending, lives.StateInFlight, lives.StateDead).Union(`SELECT event_type, queue, {state} AS place FROM {table} WHERE id = j.event_id`) + `) AS places LIMIT 1
    ) AS e WHERE j.at > j.begun AND j.entry IN ('failed', 'refused', 'died') GROUP BY 1, 2
), died AS (
    SELECT event_type, queue, count(*) AS n
    FROM span, LATERAL (SELECT event_type, queue, died_at FROM outbox_dead WHERE died_at <= ended ORDER BY died_at DESC, id DESC LIMIT 5000) AS latest
    WHERE died_at > begun GROUP BY 1, 2
), pairs AS (
    SELECT event_type, queue, sum(confirmed)::bigint AS confirmed, sum(failed)::bigint AS failed, sum(died)::bigint AS died, max(p50) AS p50, max(p99) AS p99
    FROM (
        SELECT event_type, queue, (n * factor)::bigint AS confirmed, 0 AS failed, 0 AS died, p[1] AS p50, p[2] AS p99 FROM confirmed, scale
        UNION ALL SELECT event_type, queue, 0, failed, died, NULL, NULL FROM noted
        UNION ALL SELECT event_type, queue, 0, 0, n, NULL, NULL FROM died
    ) AS parts GROUP BY 1, 2 ORDER BY sum(confirmed + failed + died) DESC LIMIT 100
), trimmed AS (
    DELETE FROM outbox_type_samples WHERE at < now() - interval '25 hours'
)
INSERT INTO outbox_type_samples (at, event_type, queue, seconds, confirmed, failed, died, delay_p50, delay_p99, queued)
SELECT now(), event_type, queue, extract(epoch FROM ended - begun), confirmed, failed, died, p50, p99, NULL FROM pairs, span
UNION ALL SELECT now(), '', queue, extract(epoch FROM ended - begun), 0, 0, 0, NULL, NULL, queued FROM span, unnest($1::text[], $2::bigint[]) AS waiting (queue, queued)
UNION ALL SELECT now(), '', '', extract(epoch FROM ended - begun), 0, 0, 0, NULL, NULL, NULL FROM span`

// MeasureTypes implements domain.Housekeeping.
func (h *Housekeeping) MeasureTypes(ctx context.Context, queued map[string]int64) error {
	ctx, cancel := context.WithTimeout(ctx, measurePatience)
	defer cancel()
	names, waiting := []string{}, []int64{}
	for name, n := range queued {
		if name != "" {
			names, waiting = append(names, h.db.Storable(name)), append(waiting, n)
		}
	}
	_, err := h.db.Pool().Exec(ctx, measureTypesSQL, names, waiting)
	return postgres.Translate(err, "measure types and queues")
}
