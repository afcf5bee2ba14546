package repository

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"outboxd/domain"
	"outboxd/repository/stored"
)

// Order per key. If an event has an ordering key but not the key's turn, the claim moves
// the event to outbox_held. The functions in migrations/00003_ordering.sql give a key's
// turn to an event and pass it on. That file also says in which order they take their
// locks.

// held describes the events that a claim moved to outbox_held. An event that outbox_held
// had already before the claim counts too.
type held struct {
	Count int       `json:"count"`
	Keys  []string  `json:"keys"`
	Due   sentTime  `json:"due"` // with ID: the place of the last of them
	ID    domain.ID `json:"id"`
	split
}

// heldSQL is the additional row of a claim that reports the events that it held. The time
// is in PostgreSQL's binary form. A time as text would depend on the session's DateStyle
// and time zone, and for times of long ago its offset has seconds, which JSON does not
// allow.
var heldSQL = `
SELECT ` + stored.NoEvent + `,
       now(), (SELECT count(*) FROM due),
       jsonb_build_object('count', count(*), 'keys', jsonb_agg(DISTINCT ordering_key),
                          'due', encode(timestamptz_send(max(available_at)), 'hex'),
                          'id', (array_agg(id ORDER BY available_at DESC, id DESC))[1])
FROM holding HAVING count(*) > 0`

// Scan reads the last column of heldSQL. The last column of heldSQL is NULL in the rows
// that have an event.
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

// passTurns ends the turns of events that nobody will confirm: events in Redis of a type
// that no consumer confirms, suppressed events, and dead events unless DeadHoldsKey is set.
// A delivery of such a type to a subscription keeps its turn, because a delivery is
// confirmed. A turn belongs to an event, not to a row: if a producer wrote the event more
// than once, the row at hand may have no ordering key.
func (b *batch) passTurns(ctx context.Context, outcomes []domain.Outcome) error {
	var ended, delivered [][16]byte
	for i, o := range outcomes {
		e := &b.events[i]
		switch {
		case o.Verdict == domain.Dead && !b.outbox.o.DeadHoldsKey || o.Verdict == domain.Suppressed:
			ended = append(ended, e.ID)
		case o.Verdict == domain.Delivered && e.OrderingKey != "" && e.Subscription == "" && slices.Contains(b.outbox.o.Unconfirmed, e.Type):
			delivered = append(delivered, e.ID)
		}
	}
	if err := b.passTurnsOf(ctx, stored.PassEndedTurnsSQL, ended); err != nil {
		return err
	}
	return b.passTurnsOf(ctx, stored.PassTurnsSQL, delivered)
}

func (b *batch) passTurnsOf(ctx context.Context, statement string, ids [][16]byte) error {
	if ids == nil {
		return nil
	}
	if _, err := b.conn.Exec(ctx, statement, ids); err != nil {
		return fmt.Errorf("pass turns on: %w", err)
	}
	b.advanced = true
	return nil
}

// advance gives the turns of the batch's ordering keys to their next events. It is called
// after the commit: before the commit, the transaction that confirms an event does not see
// the events that this batch held, so it cannot give them the turn. Until the commit,
// other sessions that look for the next event of a key still see the batch's events in the
// outbox, so they leave the key to this process. If advance fails, the leader gives the
// turns later.
func (b *batch) advance(ctx context.Context) {
	b.advanced = b.advanced || b.held.Made > 0
	keys := slices.Concat(b.held.Keys, b.held.InsteadKeys, b.freed)
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
		b.outbox.db.Logger().DebugContext(ctx, "could not advance ordering keys; the leader does it in its next round", "keys", len(keys), "error", err)
		return
	}
	b.advanced = b.advanced || advanced > 0
}
