package traffic

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"outboxd/domain"
)

// Stopwatch records when each event is committed, enqueued and handled, and when its
// effect is committed. It is safe for concurrent use.
type Stopwatch struct {
	mu      sync.Mutex
	events  map[domain.ID]*passage
	open    int           // events that have not passed all stages
	settled chan struct{} // a token whenever open may have become 0
}

// passage has the times at which one event was committed, enqueued and handled, and at
// which its effect was committed. The order of these times is not fixed: the relay may
// enqueue an event before the producer knows of its commit.
type passage struct{ committed, enqueued, started, effected time.Time }

func (p *passage) complete() bool {
	return !p.committed.IsZero() && !p.enqueued.IsZero() && !p.started.IsZero() && !p.effected.IsZero()
}

// NewStopwatch returns a Stopwatch that has seen no event.
func NewStopwatch() *Stopwatch {
	return &Stopwatch{events: map[domain.ID]*passage{}, settled: make(chan struct{}, 1)}
}

// Committed records the commit of an event. The producer calls Committed right
// after the commit.
func (s *Stopwatch) Committed(id domain.ID, at time.Time) {
	s.pass(id, func(p *passage) *time.Time { return &p.committed }, at)
}

// Enqueued records that an event is in Redis. The relay calls Enqueued right after
// publishing the event.
func (s *Stopwatch) Enqueued(id domain.ID, at time.Time) {
	s.pass(id, func(p *passage) *time.Time { return &p.enqueued }, at)
}

// Started records the start of an event's handler. The handler calls Started before
// anything else.
func (s *Stopwatch) Started(id domain.ID) {
	s.pass(id, func(p *passage) *time.Time { return &p.started }, time.Now())
}

// Effected records that the effect of an event is committed. The worker calls Effected
// right after the commit.
func (s *Stopwatch) Effected(id domain.ID, at time.Time) {
	s.pass(id, func(p *passage) *time.Time { return &p.effected }, at)
}

// pass records a time of an event, unless that time is already recorded: repeats do
// not count.
func (s *Stopwatch) pass(id domain.ID, gate func(*passage) *time.Time, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.events[id]
	if p == nil {
		p = &passage{}
		s.events[id] = p
		s.open++
	}
	if t := gate(p); t.IsZero() {
		*t = at
		if p.complete() {
			s.open--
		}
	}
	if s.open == 0 {
		select {
		case s.settled <- struct{}{}:
		default:
		}
	}
}

// PassageLimit is how long Results waits for the last event.
const PassageLimit = time.Minute

// Passages has how long events took from their commit to each stage.
type Passages struct {
	Enqueued Durations // until the event was in Redis
	Started  Durations // until its handler began
	Effected Durations // until its effect was committed
}

// Results waits, for up to PassageLimit, until every event has passed all stages. Results
// returns how long the events took, and resets the stopwatch. All producers must have
// returned.
func (s *Stopwatch) Results(ctx context.Context) (took Passages, err error) {
	limit := time.NewTimer(PassageLimit)
	defer limit.Stop()
	for {
		s.mu.Lock()
		open := s.open
		s.mu.Unlock()
		if open == 0 {
			break
		}
		select {
		case <-s.settled:
		case <-ctx.Done():
			return took, ctx.Err()
		case <-limit.C:
			return took, fmt.Errorf("%d events have not taken effect within %v", open, PassageLimit)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.events {
		took.Enqueued = append(took.Enqueued, milliseconds(p.enqueued.Sub(p.committed)))
		took.Started = append(took.Started, milliseconds(p.started.Sub(p.committed)))
		took.Effected = append(took.Effected, milliseconds(p.effected.Sub(p.committed)))
	}
	clear(s.events)
	slices.Sort(took.Enqueued)
	slices.Sort(took.Started)
	slices.Sort(took.Effected)
	return took, nil
}

// milliseconds converts a duration between two times that different goroutines
// recorded. A negative duration means that the first goroutine read the clock late;
// milliseconds returns 0 for it.
func milliseconds(d time.Duration) float64 { return max(0, float64(d)/float64(time.Millisecond)) }

// Durations are milliseconds, sorted.
type Durations []float64

// quantile returns the q-quantile by nearest rank; 0 if there are no values.
func (s Durations) quantile(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	rank := int(q*float64(len(s)) + 0.999999)
	return s[min(max(rank, 1), len(s))-1]
}

// Figures returns the quantiles for a report.
func (s Durations) Figures(prefix string) map[string]float64 {
	return map[string]float64{
		prefix + "p50_ms": s.quantile(.5),
		prefix + "p95_ms": s.quantile(.95),
		prefix + "p99_ms": s.quantile(.99),
		prefix + "max_ms": s.quantile(1),
	}
}
