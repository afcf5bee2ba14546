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
// commit of its batch fail. The cause may end. So after every tryEvery, a claim from the beginning of the outbox tries up
// to maxAside stuck events again. It begins with the events whose last try is the longest ago. If some of these events
// are not stuck any more, the next claim from the beginning tries up to maxAside further events. So stuck events cost a
// claim a bounded amount of work, however many there are.

const tryEvery = time.Minute

type stuckRow struct {
	dueRow
	why   error // why it cannot be relayed
	unset error // why it cannot become a dead letter; nil: not known, or not tried
}

// passedOver has the stuck events that this process knows. It is safe for concurrent use.
type passedOver struct {
	now func() time.Time

	mu       sync.Mutex
	events   []domain.ID                 // the one whose last try is the longest ago comes first
	places   map[domain.ID]domain.Cursor // of the same events, where they were met last
	try      time.Time                   // when some are tried again
	reported time.Time
}

func newPassedOver() *passedOver {
	return &passedOver{now: time.Now, places: map[domain.ID]domain.Cursor{}}
}

// begin returns the events that a claim from the given place on passes over, and the stuck events that this claim
// tries again. The caller must call end.
func (p *passedOver) begin(from domain.Cursor) (passed [][16]byte, tried []domain.Cursor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := min(len(p.events), maxAside); n > 0 && from == (domain.Cursor{}) && !p.now().Before(p.try) {
		p.try = p.now().Add(tryEvery)
		for _, id := range p.events[:n] {
			tried = append(tried, p.places[id])
			delete(p.places, id)
		}
		p.events = p.events[n:]
	}
	for _, id := range p.events {
		if from == (domain.Cursor{}) || p.places[id].Compare(from) >= 0 {
			passed = append(passed, id)
		}
	}
	return passed, tried
}

// end is called when a claim has ended. The parameter tried has the stuck events that the claim tried again. If the
// claim was not committed, nobody knows whether they are still stuck.
func (p *passedOver) end(tried []domain.Cursor, committed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range tried {
		switch _, stuck := p.places[at.ID]; {
		case stuck:
		case committed:
			p.try = p.now()
		default:
			p.add(at)
		}
	}
}

// add notes where a stuck event is. The event may have moved to another time since it was met last.
func (p *passedOver) add(at domain.Cursor) {
	if _, known := p.places[at.ID]; !known {
		p.events = append(p.events, at.ID)
	}
	p.places[at.ID] = at
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
