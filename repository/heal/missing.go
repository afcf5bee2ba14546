package heal

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/domain/lost"
	"outboxd/domain/queued"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// MissingEvents implements lost.MissingEvents.
type MissingEvents struct{ db *postgres.Database }

// NewMissingEvents returns the MissingEvents of db.
func NewMissingEvents(db *postgres.Database) *MissingEvents { return &MissingEvents{db: db} }

var _ lost.MissingEvents = (*MissingEvents)(nil)

// PostgreSQL counts the rows that are inserted into each partition of the history.
// Reading these counters costs little.
const handedOverSQL = `
SELECT CASE WHEN current_setting('track_counts')::boolean
       THEN coalesce(sum(pg_stat_get_tuples_inserted(inhrelid)), 0)::bigint ELSE -1 END, clock_timestamp()
FROM pg_inherits WHERE inhparent = 'outbox_sent'::regclass`

// HandedOver implements lost.MissingEvents.
func (m *MissingEvents) HandedOver(ctx context.Context) (n int64, now time.Time, err error) {
	err = m.db.Pool().QueryRow(ctx, handedOverSQL).Scan(&n, &now)
	return n, now, postgres.Translate(err, "look whether events were handed over")
}

// A page reads at most pageShare confirmations, and at most pageShare dead letters, for
// each row of the history.
const pageShare = 4

// The number of rows that a page reads is bounded, not the number of rows that it finds.
// So each execution of pageSQL is short, whatever the size of the history.
//
//   - confirmed reads the inbox once, from the first ID of the page to the last. Reading
//     the inbox once is a tenth of the work of one look-up for each event. If the inbox
//     has far more IDs in this range than the page has, the reading stops early, and the
//     page ends there.
//   - dead reads the dead letters in the same way. The generation is looked up only for
//     an event that has a dead letter.
//   - The conditions with IN stand in the list of columns, where PostgreSQL always makes
//     a hash table of the subquery. In a join the planner may compare every row with
//     every other.
//   - A row with a sent_at in the future was written before the clock was set back.
//   - The last row of the result describes the page and is no event.
const pageSQL = `
WITH page AS MATERIALIZED (
    SELECT id, event_type, queue, generation, sent_at, split, subscription FROM outbox_sent
    WHERE id > $1::uuid AND id <= $4::uuid ORDER BY id FETCH FIRST %[1]d ROWS WITH TIES
), ends AS MATERIALIZED (
    SELECT (SELECT id FROM page ORDER BY id LIMIT 1) AS first, (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last
), confirmed AS MATERIALIZED (
    SELECT event_id AS id FROM inbox WHERE event_id >= (SELECT first FROM ends) AND event_id <= (SELECT last FROM ends)
    ORDER BY event_id LIMIT %[2]d
), dead AS MATERIALIZED (
    SELECT id FROM outbox_dead WHERE id >= (SELECT first FROM ends) AND id <= (SELECT last FROM ends) ORDER BY id LIMIT %[2]d
), cut AS MATERIALIZED (
    SELECT least((SELECT id FROM confirmed ORDER BY id OFFSET %[2]d - 1 LIMIT 1), (SELECT id FROM dead ORDER BY id OFFSET %[2]d - 1 LIMIT 1), last) AS last FROM ends
), judged AS MATERIALIZED (
    SELECT *, id IN (SELECT id FROM confirmed) AS confirmed, id IN (SELECT id FROM dead) AS dead, event_type = ANY ($3::text[]) AND subscription IS NULL OR split IS NOT DISTINCT FROM 'instead' AS excepted
    FROM page WHERE id <= (SELECT last FROM cut)
)
(SELECT id, event_type, queue, generation, sent_at, NULL::boolean, 0::bigint, NULL::text[] FROM judged
 WHERE NOT confirmed AND NOT excepted AND sent_at NOT BETWEEN now() - $2::float8 * interval '1 second' AND now()
   AND CASE WHEN dead THEN NOT EXISTS (SELECT FROM outbox_dead d WHERE d.id = judged.id AND d.generation >= judged.generation) ELSE true END
 ORDER BY id)
UNION ALL
(SELECT coalesce((SELECT last FROM cut), $1::uuid), NULL, NULL, NULL, NULL,
        (SELECT count(*) FROM page) < %[1]d AND (SELECT last FROM cut) IS NOT DISTINCT FROM (SELECT last FROM ends),
        count(*) FILTER (WHERE NOT confirmed AND NOT excepted), array_agg(DISTINCT event_type) FILTER (WHERE confirmed)
 FROM judged)`

// Page implements lost.MissingEvents.
func (m *MissingEvents) Page(ctx context.Context, after, until domain.ID, limit int, age time.Duration, except []string) (lost.SentPage, error) {
	const doing = "read a page of the history"
	var page lost.SentPage
	statement := fmt.Sprintf(pageSQL, limit, pageShare*limit)
	rows, err := m.db.Pool().Query(ctx, statement, [16]byte(after), age.Seconds(), append([]string{}, except...), [16]byte(until))
	if err != nil {
		return page, postgres.Translate(err, doing)
	}
	defer rows.Close()
	for rows.Next() {
		var id [16]byte
		var eventType, queue *string
		var generation *int
		var sent *time.Time
		var end *bool
		var open int
		var proven []string
		if err := rows.Scan(&id, &eventType, &queue, &generation, &sent, &end, &open, &proven); err != nil {
			return page, postgres.Translate(err, doing)
		}
		if end != nil {
			page.Last, page.End, page.Open, page.Proven = id, *end, open, proven
			continue
		}
		if page.Waiting == nil {
			page.Waiting = make([]domain.SentEvent, 0, limit)
		}
		e := domain.SentEvent{Event: domain.Event{ID: id, Type: *eventType, Queue: *queue, Generation: *generation}, SentAt: *sent}
		page.Waiting = append(page.Waiting, e)
	}
	return page, postgres.Translate(rows.Err(), doing)
}

// noteMissingSQL notes an event only if its row in the history has not changed since the
// queue was asked, and if it is not confirmed. The task of a confirmed event leaves the
// queue only after the confirmation has committed.
const noteMissingSQL = `
INSERT INTO outbox_missing AS m (event_id, event_type, queue, generation, sent_at, task)
SELECT a.id, a.event_type, a.queue, a.generation, a.sent_at, a.task
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::timestamptz[], $6::text[], $8::boolean[]) AS a (id, event_type, queue, generation, sent_at, task, proven)
WHERE EXISTS (SELECT FROM outbox_sent s WHERE s.id = a.id AND s.generation = a.generation AND s.sent_at = a.sent_at)
  AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = a.id)
  AND (EXISTS (SELECT FROM outbox_missing k WHERE k.event_id = a.id) OR (SELECT count(*) FROM outbox_missing) < CASE WHEN a.proven THEN $7::bigint ELSE $7 / 2 END)
ORDER BY a.id
ON CONFLICT (event_id) DO UPDATE SET generation = excluded.generation, sent_at = excluded.sent_at, task = excluded.task, seen_at = clock_timestamp()
RETURNING m.event_id, m.event_type, m.queue, m.generation, m.sent_at, m.found_at, m.resends, m.resent_at, m.xmax = 0`

// Note implements lost.MissingEvents.
func (m *MissingEvents) Note(ctx context.Context, events []lost.MissingEvent) ([]lost.MissingEvent, error) {
	const doing = "note missing events"
	n := len(events)
	ids, types, queues := make([][16]byte, n), make([]string, n), make([]string, n)
	generations, sent, tasks, proven := make([]int, n), make([]time.Time, n), make([]string, n), make([]bool, n)
	found := map[domain.ID]queued.TaskPresence{}
	for i := range events {
		e := &events[i]
		ids[i], types[i], queues[i], generations[i], sent[i], tasks[i] = e.Event.ID, e.Event.Type, e.Event.Queue, e.Event.Generation, e.SentAt, e.Task.String()
		proven[i] = e.Proven
		found[e.Event.ID] = e.Task
	}
	rows, err := m.db.Pool().Query(ctx, noteMissingSQL, ids, types, queues, generations, sent, tasks, lost.MissingNoted, proven)
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	noted, err := pgx.CollectRows(rows, scanMissing)
	for i := range noted {
		noted[i].Task = found[noted[i].Event.ID]
	}
	return noted, postgres.Translate(err, doing)
}

func scanMissing(row pgx.CollectableRow) (e lost.MissingEvent, err error) {
	var resent *time.Time
	err = row.Scan((*[16]byte)(&e.Event.ID), &e.Event.Type, &e.Event.Queue, &e.Event.Generation, &e.SentAt, &e.FoundAt, &e.Resends, &resent, &e.New)
	if resent != nil {
		e.ResentAt = *resent
	}
	return e, err
}

// IsMissingSQL is true for an event that is missing now, and false for one that was sent
// again and not seen missing since.
const IsMissingSQL = `(resent_at IS NULL OR seen_at > resent_at)`

var settleMissingSQL = `
WITH ended AS (
    DELETE FROM outbox_missing m
    WHERE EXISTS (SELECT FROM inbox i WHERE i.event_id = m.event_id)
       OR ` + IsMissingSQL + ` AND seen_at < $1::timestamptz
       OR NOT ` + stored.Places.Only(lives.StatePending, lives.StateHeld, lives.StateInFlight).Have("m.event_id") + `
    RETURNING ` + IsMissingSQL + ` AS missing
)
SELECT (SELECT count(*) FROM outbox_missing WHERE ` + IsMissingSQL + `) - (SELECT count(*) FROM ended WHERE missing),
       (SELECT count(*) FROM outbox_missing) - (SELECT count(*) FROM ended)`

// Settle implements lost.MissingEvents.
func (m *MissingEvents) Settle(ctx context.Context, since time.Time) (missing, remembered int64, err error) {
	err = m.db.Pool().QueryRow(ctx, settleMissingSQL, since).Scan(&missing, &remembered)
	return missing, remembered, postgres.Translate(err, "forget events that are not missing any more")
}

const missingSQL = `
SELECT event_id, event_type, queue, generation, sent_at, found_at, resends, resent_at, false FROM outbox_missing
WHERE ` + IsMissingSQL + ` ORDER BY event_id LIMIT $1`

// Missing implements lost.MissingEvents.
func (m *MissingEvents) Missing(ctx context.Context, limit int) ([]lost.MissingEvent, error) {
	rows, err := m.db.Pool().Query(ctx, missingSQL, limit)
	if err != nil {
		return nil, postgres.Translate(err, "list missing events")
	}
	list, err := pgx.CollectRows(rows, scanMissing)
	return list, postgres.Translate(err, "list missing events")
}
