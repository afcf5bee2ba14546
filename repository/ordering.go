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

// Order per key. The claim keeps back what has a key and not its turn; the
// functions of migrations/00003_ordering.sql, where the order of the steps is
// argued, give and pass the turns.

// held is what a claim took out of the way, repeats of held events among it.
type held struct {
	Count int       `json:"count"`
	Keys  []string  `json:"keys"`
	Due   sentTime  `json:"due"` // with ID: the place of the last one
	ID    domain.ID `json:"id"`
	split
}

// The time goes as PostgreSQL sends it in binary: as text it would be written by
// the session's DateStyle and time zone, and offsets with seconds, which times of
// long ago have, are not even JSON.
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
			o.Verdict == domain.Suppressed || o.Verdict == domain.Delivered && e.Subscription == "" && slices.Contains(b.outbox.o.Unconfirmed, e.Type) {
			ended = append(ended, e.ID)
		}
	}
	if ended == nil {
		return nil
	}
	if _, err := b.conn.Exec(ctx, stored.PassTurnsSQL, ended); err != nil {
		return fmt.Errorf("pass turns on: %w", err)
	}
	b.advanced = true
	return nil
}

// advance follows the commit, for every key that the batch touched. Until the
// commit a confirmation does not see what was held, and others who ask for the
// next event of a key still see in the outbox what was taken from it, and leave the key to us.
// Where it fails, the leader's round does it.
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
