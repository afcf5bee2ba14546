package examine

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/domain/diagnosis"
	"outboxd/domain/diagnosis/thorough"
	"outboxd/repository/upkeep"
)

func (e *Examiner) partitions(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	rows, err := tx.Query(ctx, upkeep.PartitionsSQL)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	var now time.Time
	var p thorough.Partitions
	err = tx.QueryRow(ctx, `SELECT now(), (SELECT count(*) FROM (SELECT FROM outbox_sent_default LIMIT $1) AS few)`, diagnosis.Counted+1).Scan(&now, &p.Stray)
	if err != nil {
		return err
	}
	days, today := upkeep.PartitionDays(names), now.UTC().Truncate(24*time.Hour)
	for days[today.AddDate(0, 0, p.Ahead)] {
		p.Ahead++
	}
	facts.Partitions = &p
	return nil
}

// manyTurns is the largest number of turns that one examination reads, so that it stays
// cheap.
const manyTurns = 50_000

// An ordering key counts as held only if events wait behind the event that has its turn.
// keysHeldSQL looks up by primary key whether the event with the turn is a dead letter.
const keysHeldSQL = `
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(taken_at)), 0)::float8,
       count(*) FILTER (WHERE EXISTS (SELECT FROM outbox_dead d WHERE d.id = held.event_id)),
       coalesce((array_agg(event_id::text ORDER BY taken_at))[1], '')
FROM (
    SELECT event_id, taken_at FROM (SELECT ordering_key, event_id, taken_at FROM outbox_turns LIMIT $2) AS t
    WHERE taken_at < clock_timestamp() - $1 * interval '1 second'
      AND EXISTS (SELECT FROM outbox_held h WHERE h.ordering_key = t.ordering_key)
) AS held`

func (e *Examiner) heldKeys(ctx context.Context, tx pgx.Tx, facts *thorough.PostgresFacts) error {
	var h thorough.HeldKeys
	var seconds float64
	if err := tx.QueryRow(ctx, keysHeldSQL, e.o.KeyAge.Seconds(), manyTurns).Scan(&h.Keys, &seconds, &h.Dead, &h.Example); err != nil {
		return err
	}
	h.Longest = inSeconds(seconds)
	facts.Held = &h
	return nil
}
