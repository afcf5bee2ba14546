package upkeep

import (
	"context"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// idleKeysSQL finds ordering keys that stand still. Such a key has held events, and one
// of three conditions is true: no event has the turn; the event with the turn is
// confirmed or held; the event has had the turn for a minute and is neither pending, in
// flight nor dead. A key stands still for the time of a commit, or for longer if a
// process was killed at the wrong moment. idleKeysSQL jumps in the index from key to
// key.
//
// over says that nobody will end the turn: the event is in flight and no consumer confirms
// its type, or it is dead and dead letters do not hold their keys ($3). The relay ends such
// a turn itself, but not if an option was changed after the event was published or died.
var idleKeysSQL = `
WITH RECURSIVE keys (key, n) AS (
    (SELECT ordering_key, 1 FROM outbox_held WHERE ordering_key > $1 ORDER BY ordering_key LIMIT 1)
    UNION ALL
    SELECT (SELECT ordering_key FROM outbox_held WHERE ordering_key > key ORDER BY ordering_key LIMIT 1), n + 1
    FROM keys WHERE key IS NOT NULL AND n < $2
), turns AS (
    SELECT key, t.event_id, EXISTS (SELECT FROM inbox i WHERE i.event_id = t.event_id) AS confirmed,
           EXISTS (SELECT FROM outbox_held h WHERE h.id = t.event_id) AS held,
           t.taken_at < now() - interval '1 minute' AND NOT ` +
	stored.Places.Only(lives.StatePending, lives.StateInFlight, lives.StateDead).Have("t.event_id") + ` AS gone,
           t.taken_at < now() - interval '1 minute' AND (
               unconfirmed <> '{}' AND EXISTS (SELECT FROM outbox_sent s WHERE s.id = t.event_id AND s.subscription IS NULL AND s.event_type = ANY (unconfirmed))
               OR NOT $3 AND EXISTS (SELECT FROM outbox_dead d WHERE d.id = t.event_id) AND NOT EXISTS (SELECT FROM outbox_sent s WHERE s.id = t.event_id))
           AND NOT EXISTS (SELECT FROM outbox o WHERE o.id = t.event_id) AS over
    FROM keys LEFT JOIN outbox_turns t ON t.ordering_key = key LEFT JOIN outbox_queue_identity ON true
    WHERE key IS NOT NULL
)
SELECT coalesce(array_agg(key) FILTER (WHERE event_id IS NULL OR confirmed OR held), '{}'),
       coalesce(array_agg(event_id) FILTER (WHERE gone AND NOT confirmed AND NOT held), '{}'),
       coalesce(array_agg((SELECT coalesce(max(generation), 0) FROM outbox_journal j WHERE j.event_id = turns.event_id))
           FILTER (WHERE gone AND NOT confirmed AND NOT held), '{}'),
       coalesce(array_agg(event_id) FILTER (WHERE over AND NOT confirmed AND NOT held), '{}'),
       CASE WHEN count(*) = $2 THEN max(key) ELSE '' END
FROM turns`

// AdvanceKeys implements domain.Housekeeping.
func (h *Housekeeping) AdvanceKeys(ctx context.Context, after string, limit int, deadHold bool) (last string, advanced int64, gone []domain.Event, err error) {
	const doing = "look after ordering keys"
	var idle []string
	var ids, over [][16]byte
	var generations []int
	if err := h.db.Pool().QueryRow(ctx, idleKeysSQL, after, limit, deadHold).Scan(&idle, &ids, &generations, &over, &last); err != nil {
		return "", 0, nil, postgres.Translate(err, doing)
	}
	for i, id := range ids {
		gone = append(gone, domain.Event{ID: id, Generation: generations[i]})
	}
	if len(idle) > 0 {
		if err := h.db.Pool().QueryRow(ctx, "SELECT outbox_advance($1)", idle).Scan(&advanced); err != nil {
			return last, 0, gone, postgres.Translate(err, doing)
		}
	}
	if len(over) > 0 {
		if _, err := h.db.Pool().Exec(ctx, stored.PassTurnsSQL, over); err != nil {
			return last, advanced, gone, postgres.Translate(err, doing)
		}
		advanced += int64(len(over))
	}
	return last, advanced, gone, nil
}

// PassTurns implements domain.Housekeeping.
func (h *Housekeeping) PassTurns(ctx context.Context, events []domain.Event) error {
	ids := make([][16]byte, len(events))
	for i := range events {
		ids[i] = events[i].ID
	}
	_, err := h.db.Pool().Exec(ctx, stored.PassTurnsSQL, ids)
	return postgres.Translate(err, "pass turns on")
}
