package search

import (
	"context"
	"strings"
	"time"

	"outboxd/domain/lives"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// heldHeadsSQL is the first part of a statement that needs the first held event of each
// ordering key. $1 has the keys, or is NULL for all keys; then at most $2 keys are read.
// heldHeadsSQL jumps in the index from key to key, so a key with ten thousand held events
// costs as much as a key with one.
const heldHeadsSQL = `
WITH RECURSIVE skipped (key, n) AS (
    (SELECT ordering_key, 1 FROM outbox_held WHERE $1::text[] IS NULL ORDER BY ordering_key LIMIT 1)
    UNION ALL
    SELECT (SELECT ordering_key FROM outbox_held WHERE ordering_key > key ORDER BY ordering_key LIMIT 1), n + 1
    FROM skipped WHERE key IS NOT NULL AND n < $2
), heads AS MATERIALIZED (
    SELECT key, head.*
    FROM (SELECT key FROM skipped WHERE key IS NOT NULL UNION SELECT unnest($1::text[])) AS keys, LATERAL (
        SELECT id, held_at, ordering_key, ordering_position, subscription FROM outbox_held WHERE ordering_key = key ORDER BY ordering_position LIMIT 1
    ) AS head
)`

// holderSQL selects the event for which a held event waits: the one that has the turn of
// the key, or an earlier one of the key in the outbox. A delivery may also wait for an
// earlier event of its event's key whose deliveries are not made yet. The conditions are
// those of outbox_next_of_key in migrations/00003_ordering.sql. held is the alias of a row
// with ordering_key, ordering_position and subscription.
func holderSQL(held string) string {
	return strings.ReplaceAll(`coalesce(
        (SELECT t.event_id FROM outbox_turns t WHERE t.ordering_key = {held}.ordering_key),
        (SELECT o.id FROM outbox o WHERE o.ordering_key = {held}.ordering_key AND o.ordering_position < {held}.ordering_position ORDER BY o.ordering_position LIMIT 1),
        (SELECT o.id FROM outbox o
         WHERE o.ordering_key = substr({held}.ordering_key, length(outbox_delivery_key({held}.subscription, '')) + 1)
           AND o.ordering_position < {held}.ordering_position AND o.split IS NULL AND o.subscription IS NULL
         ORDER BY o.ordering_position LIMIT 1))`, "{held}", held)
}

// replayingSQL says whether a replay to the subscription of a held delivery is under way. During
// a replay no held delivery of the subscription gets the turn: see outbox_next_of_key. held is
// the alias of a row with the column subscription.
func replayingSQL(held string) string {
	return "EXISTS (SELECT FROM outbox_replays r WHERE r.subscription = " + held + ".subscription AND r.ended_at IS NULL)"
}

// heldKeysSQL counts and looks up only the keys on the page. heldKeysSQL is one
// statement, so it finds an event that is moving at the same time in one place only.
var heldKeysSQL = heldHeadsSQL + `, page AS MATERIALIZED (
    SELECT key, id, held_at, ` + holderSQL("longest") + ` AS holder,
           CASE WHEN ` + replayingSQL("longest") + ` THEN subscription ELSE '' END AS replaying
    FROM (SELECT * FROM heads ORDER BY held_at, key LIMIT $3) AS longest
)
SELECT page.key, page.id, page.held_at,
       (SELECT count(*) FROM (SELECT FROM outbox_held h WHERE h.ordering_key = page.key LIMIT $4) AS waiting),
       page.holder, coalesce(t.taken_at, ` + stored.Within("e.created_at") + `), e.state, coalesce(e.event_type, ''), coalesce(e.queue, ''), ` + stored.Within("e.at") + `, coalesce(e.attempts, 0), coalesce(e.error, ''),
       EXISTS (SELECT FROM inbox i WHERE i.event_id = page.holder), page.replaying, (SELECT count(*) FROM heads)
FROM page LEFT JOIN outbox_turns t ON t.ordering_key = page.key LEFT JOIN LATERAL (
    SELECT * FROM (
    ` + stored.Places.Only(lives.StatePending, lives.StateInFlight, lives.StateDead).Union(
	`SELECT {state} AS state, event_type, queue, {since} AS at, attempts, {error} AS error, generation, created_at FROM {table} WHERE id = page.holder`) + `
    ) AS places ORDER BY generation DESC, state = 'in flight', state = 'pending' LIMIT 1
) AS e ON true
ORDER BY page.held_at, page.key`

// HeldKeys reads the ordering keys whose events are held back.
type HeldKeys struct{ db *postgres.Database }

// NewHeldKeys returns the HeldKeys of db.
func NewHeldKeys(db *postgres.Database) *HeldKeys { return &HeldKeys{db: db} }

// List returns up to limit ordering keys whose events are held back: only the named keys, or all
// keys if the list of names is nil. The keys whose events have waited longest come first. The
// result complete is false if no keys are named and there are lives.HeldKeysCounted such keys or
// more; then List looked only at the first ones in the order of their names. Errors:
// domain.CodeUnavailable.
func (k *HeldKeys) List(ctx context.Context, named []string, limit int) (list []lives.HeldKey, complete bool, err error) {
	const doing = "list held keys"
	rows, err := k.db.Pool().Query(ctx, heldKeysSQL, named, lives.HeldKeysCounted, limit, lives.HeldEventsCounted)
	if err != nil {
		return nil, false, postgres.Translate(err, doing)
	}
	defer rows.Close()
	complete = true
	for rows.Next() {
		var key lives.HeldKey
		var turn lives.Turn
		var owner *[16]byte
		var since, at *time.Time
		var state *lives.State
		var looked int
		if err := rows.Scan(&key.Key, (*[16]byte)(&key.Next), &key.Since, &key.Held, &owner, &since, &state, &turn.Type, &turn.Queue,
			&at, &turn.Attempts, &turn.Error, &turn.Confirmed, &key.Replaying, &looked); err != nil {
			return nil, false, postgres.Translate(err, doing)
		}
		if owner != nil {
			turn.ID, turn.Since, turn.State = *owner, *since, lives.StateGone
			if state != nil {
				turn.State, turn.At = *state, *at
			}
			key.Turn = &turn
		}
		complete = named != nil || looked < lives.HeldKeysCounted
		list = append(list, key)
	}
	return list, complete, postgres.Translate(rows.Err(), doing)
}
