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

// What a wide producer does besides.
const (
	fanned   = 0.15 // part of the events that fan out
	away     = 0.15 // part of the events that take effect in another database
	delayed  = 0.2  // part of the others that are due later, so that there is time to change them
	changing = 0.2  // part of the transactions that change an earlier event
	longest  = 3 * time.Second
	recalled = 40 // how many events a producer remembers
)

// widen gives an event another consumer, or another time.
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

// change is what a producer makes of an event that it wrote earlier.
type change struct {
	ID  domain.ID
	To  time.Duration // from now
	End bool          // cancel it
}

func (c change) what() string {
	if c.End {
		return "cancel"
	}
	return "reschedule"
}

// statement makes the change, and notes the answer in the same transaction.
func (c change) statement() (sql string, args []any) {
	if c.End {
		return `INSERT INTO chaos.changes SELECT $1, 'cancel', outboxd.cancel($1, 'chaos')`, []any{[16]byte(c.ID)}
	}
	return `INSERT INTO chaos.changes SELECT $1, 'reschedule', outboxd.reschedule($1, now() + $2 * interval '1 second', 'chaos')`, []any{[16]byte(c.ID), c.To.Seconds()}
}

// remember keeps events that can be changed later. One that takes effect in another
// database cannot: nothing asks the outbox before that effect.
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

// changes chooses what a transaction changes. It mostly is one of the last events, which
// may be anywhere on its way.
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
