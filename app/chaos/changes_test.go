package chaos

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outboxd/domain"
)

// What a producer with Wide does in addition.
const (
	fanned   = 0.15            // part of the events that fan out
	away     = 0.15            // part of the events that take effect in another database
	delayed  = 0.2             // part of the events, none of the above, that are due later, so that there is time to change them
	changing = 0.2             // part of the transactions that change an earlier event
	longest  = 3 * time.Second // delay of an event, and time to which one is rescheduled
	recalled = 40              // how many events a producer remembers
)

// widen gives some events another consumer, and some a later time.
func (p *producer) widen(e *entry) {
	switch dice := p.random.Float64(); {
	case dice < fanned:
		e.Type = fanType
	case dice < fanned+away:
		e.Type = elsewhereType
	case dice < fanned+away+delayed:
		e.Delay = time.Duration(p.random.Int64N(int64(longest)))
	}
}

// change cancels or reschedules an event that the producer wrote earlier.
type change struct {
	ID  domain.ID
	To  time.Duration // from now; unused if End
	End bool          // cancel it, and do not reschedule it
}

func (c change) what() string {
	if c.End {
		return "cancel"
	}
	return "reschedule"
}

// statement returns SQL that makes the change, and notes outboxd's answer in
// chaos.changes.
func (c change) statement() (sql string, args []any) {
	if c.End {
		return `INSERT INTO chaos.changes SELECT $1, 'cancel', outboxd.cancel($1, 'chaos')`, []any{[16]byte(c.ID)}
	}
	return `INSERT INTO chaos.changes SELECT $1, 'reschedule', outboxd.reschedule($1, now() + $2 * interval '1 second', 'chaos')`, []any{[16]byte(c.ID), c.To.Seconds()}
}

// remember keeps events that can be changed later. An event that takes effect in another database
// is not kept, because nothing asks the outbox before that effect.
func (p *producer) remember(events []entry) {
	if !p.Wide {
		return
	}
	for _, e := range events {
		if e.Type != elsewhereType {
			p.recent = append(p.recent, e.ID)
		}
	}
	p.recent = slices.Delete(p.recent, 0, max(len(p.recent)-recalled, 0))
}

// changes returns what a transaction changes: in most transactions nothing, otherwise
// one of the last events, in whatever state it is by now.
func (p *producer) changes() []change {
	if len(p.recent) == 0 || p.random.Float64() >= changing {
		return nil
	}
	return []change{{
		ID: p.recent[p.random.IntN(len(p.recent))], End: p.random.IntN(2) == 0, To: time.Duration(p.random.Int64N(int64(longest))),
	}}
}

func readChanges(ctx context.Context, admin *pgxpool.Pool) (map[string]int, error) {
	rows, err := admin.Query(ctx, "SELECT what || ': ' || answer, count(*) FROM chaos.changes GROUP BY 1")
	if err != nil {
		return nil, fmt.Errorf("read the changes: %w", err)
	}
	found := map[string]int{}
	var what string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&what, &n}, func() error { found[what] = n; return nil }); err != nil {
		return nil, fmt.Errorf("read the changes: %w", err)
	}
	return found, nil
}
