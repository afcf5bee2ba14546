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

// Order per key. The claim moves an event that comes before its turn to
// outbox_held. The functions of migrations/00003_ordering.sql give turns and
// pass them on; that file also says why the order of the steps is right.

// held counts the events that a claim moved to outbox_held, including repeats
// of held events.
type held struct {
	Count int       `json:"count"`
	Keys  []string  `json:"keys"`
	Due   sentTime  `json:"due"` // with ID: the place of the last of them
	ID    domain.ID `json:"id"`
	split
}

// The time is in PostgreSQL's binary form. As text it would depend on the
// session's DateStyle and time zone, and times of long ago have offsets with
// seconds, which JSON does not allow.
var heldSQL = `
SELECT ` + stored.NoEvent + `,
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

// passTurns ends the turns of events that will get no confirmation: events of
// types that no consumer confirms, suppressed events, and dead ones unless dead
// letters hold their keys. A turn is the event's: where the event was written more
// than once, the row that ends may be one without the key.
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

// advance is called after the commit, for every key of the batch. Before the commit,
// a confirmation does not see the events that the batch held. And others who look for
// the next event of a key still see the batch's events in the outbox, and leave the
// key to us. If advance fails, the leader's next round does the same.
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
		b.outbox.db.Logger().DebugContext(ctx, "could not advance ordering keys; the next round of housekeeping does", "keys", len(keys), "error", err)
		return
	}
	b.advanced = b.advanced || advanced > 0
}
