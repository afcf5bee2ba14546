package repository

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

// Order per key. The claim keeps back what has a key and not its turn; the
// functions of migrations/00004_ordering.sql, where the order of the steps is
// argued, give and pass the turns.

// held is what a claim took out of the way, repeats of held events among it.
type held struct {
	Count int       `json:"count"`
	Keys  []string  `json:"keys"`
	Due   sentTime  `json:"due"` // with ID: the place of the last one
	ID    domain.ID `json:"id"`
}

// The time goes as PostgreSQL sends it in binary: as text it would be written by
// the session's DateStyle and time zone, and offsets with seconds, which times of
// long ago have, are not even JSON.
var heldSQL = `
SELECT ` + noEvent + `,
       now(), (SELECT count(*) FROM due),
       jsonb_build_object('count', count(*), 'keys', jsonb_agg(DISTINCT ordering_key),
                          'due', encode(timestamptz_send(max(available_at)), 'hex'),
                          'id', (array_agg(id ORDER BY available_at DESC, id DESC))[1])
FROM holding HAVING count(*) > 0`

// Scan reads heldSQL's last column, which is NULL for the rows of events.
func (h *held) Scan(value any) error {
	if value == nil {
		return nil
	}
	switch text := value.(type) {
	case string:
		return json.Unmarshal([]byte(text), h)
	case []byte:
		return json.Unmarshal(text, h)
	default:
		return fmt.Errorf("read what was held from a %T", value)
	}
}

func (h *held) last() domain.Cursor { return domain.Cursor{Due: time.Time(h.Due), ID: h.ID} }

// In the order of the IDs, so that two who pass the same turns do not wait for
// each other.
//
//nolint:gosec // no credential
const passTurnsSQL = `SELECT outbox_pass_turn(id) FROM (SELECT unnest($1::uuid[]) AS id ORDER BY 1) AS ended`

// passTurns ends the turns of the events for which no confirmation will come: of
// those that nobody confirms, of the suppressed, and of the dead unless they hold
// their keys.
func (b *batch) passTurns(ctx context.Context, outcomes []domain.Outcome) error {
	var ended [][16]byte
	for i, o := range outcomes {
		e := &b.events[i]
		if e.OrderingKey == "" {
			continue
		}
		if o.Verdict == domain.Dead && !b.outbox.o.DeadHoldsKey ||
			o.Verdict == domain.Suppressed || o.Verdict == domain.Delivered && slices.Contains(b.outbox.o.Unconfirmed, e.Type) {
			ended = append(ended, e.ID)
		}
	}
	if ended == nil {
		return nil
	}
	if _, err := b.conn.Exec(ctx, passTurnsSQL, ended); err != nil {
		return fmt.Errorf("pass turns on: %w", err)
	}
	b.full = true
	return nil
}

// advance follows the commit, for every key that the batch touched. Until the
// commit a confirmation does not see what was held, and others who ask for the
// next event of a key still see in the outbox what was taken from it, and leave the key to us.
// Where it fails, the housekeeper's round does it.
func (b *batch) advance(ctx context.Context) {
	keys := slices.Concat(b.held.Keys, b.freed)
	for i := range b.events {
		if e := &b.events[i]; e.OrderingKey != "" {
			keys = append(keys, e.OrderingKey)
		}
	}
	if len(keys) == 0 {
		return
	}
	var advanced int
	if err := b.outbox.db.Pool().QueryRowOn(ctx, b.conn.Conn(), "SELECT outbox_advance($1)", keys).Scan(&advanced); err != nil {
		b.outbox.db.Logger().DebugContext(ctx, "could not advance ordering keys; the next round of housekeeping does", "keys", len(keys), "error", err)
		return
	}
	b.full = b.full || advanced > 0
}

// Neither a key without a turn, nor one whose turn has ended, nor one whose turn
// is that of an event which is still held, should exist for
// longer than it takes to commit; a process that was killed at the wrong moment
// leaves them. The keys are found by skipping through the index, one entry for
// each.
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
	eventPlaces.only(domain.StatePending, domain.StateInFlight, domain.StateDead).have("t.event_id") + ` AS gone
    FROM keys LEFT JOIN outbox_turns t ON t.ordering_key = key
    WHERE key IS NOT NULL
)
SELECT coalesce(array_agg(key) FILTER (WHERE event_id IS NULL OR confirmed OR held), '{}'),
       coalesce(array_agg(event_id) FILTER (WHERE gone AND NOT confirmed AND NOT held), '{}'),
       coalesce(array_agg((SELECT coalesce(max(generation), 0) FROM outbox_journal j WHERE j.event_id = turns.event_id))
           FILTER (WHERE gone AND NOT confirmed AND NOT held), '{}'),
       CASE WHEN count(*) = $2 THEN max(key) ELSE '' END
FROM turns`

// AdvanceKeys implements domain.Housekeeping.
func (h *Housekeeping) AdvanceKeys(ctx context.Context, after string, limit int) (last string, advanced int64, gone []domain.Event, err error) {
	const doing = "look after ordering keys"
	var idle []string
	var ids [][16]byte
	var generations []int
	if err := h.db.Pool().QueryRow(ctx, idleKeysSQL, after, limit).Scan(&idle, &ids, &generations, &last); err != nil {
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
	return last, advanced, gone, nil
}

// PassTurns implements domain.Housekeeping.
func (h *Housekeeping) PassTurns(ctx context.Context, events []domain.Event) error {
	ids := make([][16]byte, len(events))
	for i := range events {
		ids[i] = events[i].ID
	}
	_, err := h.db.Pool().Exec(ctx, passTurnsSQL, ids)
	return postgres.Translate(err, "pass turns on")
}
