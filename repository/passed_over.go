package repository

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"outboxd/domain"
)

// An event is stuck if it can neither be relayed nor become a dead letter: the tables refuse it, or another transaction
// works on it and stays open. It stays in the outbox, and claims pass it over, because it would make every claim or
// commit of its batch fail. The cause may end. So a claim from the beginning of the outbox tries up to maxAside stuck events again once every tryEvery,
// those first that were not tried for the longest time. If some of them are not stuck any more, the next claim tries as
// many more. So stuck events cost a claim a bounded amount of work, however many there are.

const tryEvery = time.Minute

type stuckRow struct {
	dueRow
	why   error // why it cannot be relayed
	unset error // why it cannot become a dead letter; nil if PostgreSQL does not say
}

// passedOver has the stuck events that this process knows. It is safe for concurrent use.
type passedOver struct {
	now func() time.Time

	mu       sync.Mutex
	events   []domain.Cursor // those that were not tried for the longest time first; no two have the same ID
	known    map[domain.ID]bool
	try      time.Time // when some are tried again
	reported time.Time
}

func newPassedOver() *passedOver {
	return &passedOver{now: time.Now, known: map[domain.ID]bool{}}
}

// begin returns the events that a claim from the given place on passes over, and the stuck events that this claim
// tries again. The caller must call end.
func (p *passedOver) begin(from domain.Cursor) (passed [][16]byte, tried []domain.Cursor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := min(len(p.events), maxAside); n > 0 && from == (domain.Cursor{}) && !p.now().Before(p.try) {
		p.try = p.now().Add(tryEvery)
		tried, p.events = p.events[:n:n], p.events[n:]
		for _, at := range tried {
			delete(p.known, at.ID)
		}
	}
	for _, at := range p.events {
		if from == (domain.Cursor{}) || at.Compare(from) >= 0 {
			passed = append(passed, at.ID)
		}
	}
	return passed, tried
}

// end is called when a claim that tried stuck events again has ended. If it was not committed, nobody knows whether
// they are still stuck.
func (p *passedOver) end(tried []domain.Cursor, committed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range tried {
		switch {
		case !committed:
			p.add(at)
		case !p.known[at.ID]:
			p.try = p.now()
		}
	}
}

func (p *passedOver) add(at domain.Cursor) {
	if !p.known[at.ID] {
		p.known[at.ID] = true
		p.events = append(p.events, at)
	}
}

// passOver makes later claims pass the events over. It logs how many events are stuck, at most once every tryEvery.
func (p *passedOver) passOver(ctx context.Context, stuck []stuckRow, log *slog.Logger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if len(p.events) == 0 {
		p.try = now.Add(tryEvery)
	}
	for _, row := range stuck {
		p.add(row.at)
	}
	if len(stuck) > 0 && now.Sub(p.reported) >= tryEvery {
		p.reported = now
		first := stuck[0]
		log.ErrorContext(ctx, "events can neither be relayed nor become dead letters at present; the relay passes them over and tries them again from time to time",
			"events", len(p.events), "an_event_id", first.at.ID, "error", first.why, "set_aside", first.unset)
	}
}
