package upkeep

import (
	"context"

	"outboxd/domain/lives"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

const (
	// typesRead is the largest number of confirmations that one statement of MeasureTypes reads.
	typesRead = 200_000
	// typesLookedUp is the largest number of confirmations, and of entries of the journal, whose events a statement
	// looks up. 20,000 take about half a second.
	typesLookedUp = 20_000
	// typesHurried replaces typesLookedUp if PostgreSQL is too slow.
	typesHurried = 1_000
)

// measureTypesSQL writes the samples of a span by type and queue: how many events were confirmed, failed and died, and
// their delays. The span begins where the last one ended, and ends overview.ConfirmedLate ago, or after $3
// confirmations. So it also has the confirmations of up to an hour in which no relay ran. If the last span ended more
// than an hour ago, the new one has only a minute. A sample covers one minute of the clock, or a part of it, and its
// time is the end of what it covers.
//
//   - The statement looks up the type and queue of each confirmation by its ID. If there are more than $4, it looks up
//     a random part of them, about half of $4, and multiplies the counts of each minute. The part is random, because
//     many events of one type may be confirmed within a second. The row without type and queue says that the
//     minute's counts are estimates, also for types that the part lacks.
//   - The event of a failed attempt is also looked up by its ID. The statement reads the $4 latest entries of the
//     journal, of any kind, and the $4 latest dead letters. If there were more in the span, failures and deaths are
//     missing.
//   - A death whose dead letter was replayed before the measurement is found in the journal.
//     A death whose dead letter was discarded is not seen, because no table has the event's
//     type any more.
//   - The limits of the journal and of the dead letters are applied before the lower bound of the span: otherwise
//     PostgreSQL might read and sort all rows of the span.
//   - A heal may have put a confirmed event back into the outbox, so the statement looks there too. It does not see a
//     confirmed event that is in none of the tables of mayEnd: a cancelled event, or every event if no history is
//     kept.
var measureTypesSQL = `
WITH bounds AS (
    SELECT coalesce(max(at), now() - interval '1 minute' - ` + lateSQL + `) AS begun, now() - ` + lateSQL + ` AS until
    FROM outbox_type_samples WHERE at > now() - interval '1 hour'
), met AS MATERIALIZED (
    SELECT event_id, processed_at, began_at FROM bounds, LATERAL (
        SELECT event_id, processed_at, began_at FROM inbox WHERE processed_at >= begun AND processed_at < until ORDER BY processed_at LIMIT $3
    ) AS first
), span AS MATERIALIZED (
    -- A full span ends before its last confirmations, because others may have the same time.
    SELECT begun, CASE WHEN n = $3 THEN greatest(last, begun + interval '1 microsecond') ELSE until END AS ended, n = $3 AS full_up,
           CASE WHEN n > $4 THEN ceil(n * 2.0 / $4)::integer ELSE 1 END AS nth
    FROM bounds, (SELECT count(*) AS n, max(processed_at) AS last FROM met) AS counted WHERE begun < until
), parts AS (
    SELECT least(minute + interval '1 minute', ended) AS at, extract(epoch FROM least(minute + interval '1 minute', ended) - greatest(minute, begun)) AS seconds
    FROM span, generate_series(date_trunc('minute', begun), ended, interval '1 minute') AS minute WHERE minute < ended
), scale AS (
    SELECT at, n::float8 / nullif(looked_up, 0) AS factor, looked_up < n AS estimated FROM (
        SELECT ` + partSQL("processed_at") + ` AS at, count(*) AS n, count(*) FILTER (WHERE uuid_hash(event_id) % nth = 0) AS looked_up
        FROM met, span WHERE processed_at < ended GROUP BY 1
    ) AS counts
), confirmed AS (
    SELECT at, event_type, queue, count(*) AS n, percentile_disc(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY delay) AS p
    FROM (SELECT event_id, coalesce(began_at, processed_at) AS began, ` + partSQL("processed_at") + ` AS at FROM met, span WHERE processed_at < ended AND uuid_hash(event_id) % nth = 0) AS few
    CROSS JOIN LATERAL (
        SELECT s.event_type, s.queue, CASE WHEN substr(event_id::text, 15, 1) = '7' OR substr(event_id::text, 15, 1) = '8' AND substr(event_id::text, 20, 1) IN ('a', 'b')
            THEN greatest(extract(epoch FROM began) - ('x' || translate(left(event_id::text, 13), '-', ''))::bit(48)::bigint / 1000.0, 0) END AS delay
        FROM (` + mayEnd.Union(`SELECT event_type, queue, generation FROM {table} WHERE id = event_id`) + `) AS s ORDER BY s.generation DESC LIMIT 1
    ) AS e GROUP BY 1, 2, 3
), noted AS (
    SELECT ` + partSQL("j.at") + ` AS at, e.event_type, e.queue, count(*) FILTER (WHERE j.entry <> 'died') AS failed, count(*) FILTER (WHERE j.entry = 'died' AND e.place <> 'dead') AS died
    FROM (
        SELECT event_id, entry, at, begun, ended FROM span, LATERAL (SELECT event_id, entry, at FROM outbox_journal WHERE at < ended ORDER BY at DESC, id DESC LIMIT $4) AS latest
    ) AS j CROSS JOIN LATERAL (
        SELECT * FROM (` + mayEnd.Union(`SELECT event_type, queue, {state} AS place FROM {table} WHERE id = j.event_id`) + `) AS places LIMIT 1
    ) AS e WHERE j.at >= j.begun AND j.entry IN ('failed', 'refused', 'died') GROUP BY 1, 2, 3
), died AS (
    SELECT ` + partSQL("died_at") + ` AS at, event_type, queue, count(*) AS n
    FROM span, LATERAL (SELECT event_type, queue, died_at FROM outbox_dead WHERE died_at < ended ORDER BY died_at DESC, id DESC LIMIT $4) AS latest
    WHERE died_at >= begun GROUP BY 1, 2, 3
), pairs AS (
    SELECT at, event_type, queue, sum(confirmed)::bigint AS confirmed, sum(failed)::bigint AS failed, sum(died)::bigint AS died, max(p50) AS p50, max(p99) AS p99,
           row_number() OVER (PARTITION BY at ORDER BY sum(confirmed + failed + died) DESC) AS place
    FROM (
        SELECT at, event_type, queue, (n * factor)::bigint AS confirmed, 0 AS failed, 0 AS died, p[1] AS p50, p[2] AS p99 FROM confirmed JOIN scale USING (at)
        UNION ALL SELECT at, event_type, queue, 0, failed, died, NULL, NULL FROM noted
        UNION ALL SELECT at, event_type, queue, 0, 0, n, NULL, NULL FROM died
    ) AS counts GROUP BY 1, 2, 3
), trimmed AS (
    DELETE FROM outbox_type_samples WHERE at < now() - interval '25 hours'
), written AS (
    INSERT INTO outbox_type_samples (at, event_type, queue, seconds, confirmed, failed, died, delay_p50, delay_p99, queued, estimated)
    SELECT at, event_type, queue, seconds, confirmed, failed, died, p50, p99, NULL, false FROM pairs JOIN parts USING (at) WHERE place <= 100
    UNION ALL SELECT at, '', queue, seconds, 0, 0, 0, NULL, NULL, queued, false
    FROM span JOIN parts ON at = ended, unnest($1::text[], $2::bigint[]) AS waiting (queue, queued) WHERE NOT full_up
    UNION ALL SELECT at, '', '', seconds, 0, 0, 0, NULL, NULL, NULL, coalesce(estimated, false) FROM parts LEFT JOIN scale USING (at)
)
SELECT EXISTS (SELECT FROM span WHERE full_up)`

// mayEnd has the tables in which an event may be after it was confirmed, failed or died.
var mayEnd = stored.Places.Only(lives.StatePending, lives.StateInFlight, lives.StateDead)

// partSQL returns the time of the sample to which a moment belongs: the end of the moment's minute, or of the span if
// that is earlier.
func partSQL(moment string) string {
	return "least(date_trunc('minute', " + moment + ") + interval '1 minute', ended)"
}

// MeasureTypes implements domain.Housekeeping.
func (h *Housekeeping) MeasureTypes(ctx context.Context, queued map[string]int64) error {
	names, waiting := []string{}, []int64{}
	for name, n := range queued {
		if name != "" {
			names, waiting = append(names, h.db.Storable(name)), append(waiting, n)
		}
	}
	for more := true; more; {
		var err error
		for _, lookedUp := range []int{typesLookedUp, typesHurried} {
			if more, err = h.measureSpan(ctx, names, waiting, typesRead, lookedUp); err == nil || ctx.Err() != nil {
				break
			}
		}
		if err != nil {
			return postgres.Translate(err, "measure types and queues")
		}
	}
	return nil
}

// measureSpan executes measureTypesSQL once. It returns true if the span was full.
func (h *Housekeeping) measureSpan(ctx context.Context, names []string, waiting []int64, read, lookedUp int) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, measurePatience)
	defer cancel()
	err = h.db.Pool().QueryRow(ctx, measureTypesSQL, names, waiting, read, lookedUp).Scan(&more)
	return more, err
}
