package dashboard

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"outboxd/domain"
)

// lookPatience bounds one look at everything. A server that does not answer by
// then is shown as one that does not.
const lookPatience = 3 * time.Second

// fresh is how long a look serves those who come after it.
const fresh = time.Second

// Readiness is what /readyz says.
type Readiness struct {
	Status string // ok, failing or draining
	Roles  []string
	Checks []Check
}

// Check is one server that this process needs.
type Check struct {
	Name  string
	Fault string // "" if it answers
	Took  time.Duration
}

// Breaker is what keeps this process's relay away from a server that is gone.
type Breaker struct {
	Server string // the name of the server's Check
	Open   bool
}

// state is all that the overview shows, as of one look.
type state struct {
	At        time.Time // by this process's clock
	Readiness Readiness
	Breakers  []Breaker
	Findings  []domain.Finding

	Known    bool // the database answered
	Standing domain.Standing

	QueueKnown bool // Redis answered
	Queues     []domain.QueueStatus
	Workers    []domain.WorkerStatus
}

// InQueue is how many tasks have still to be done.
func (s *state) InQueue() (n int64) {
	for _, q := range s.Queues {
		n += q.Unfinished()
	}
	return n
}

// Retrying is how many of them failed and wait for their next attempt.
func (s *state) Retrying() (n int64) {
	for _, q := range s.Queues {
		n += q.Retry
	}
	return n
}

// Late is how long the oldest due event has been due.
func (s *state) Late() time.Duration {
	if s.Standing.OldestDue.IsZero() {
		return 0
	}
	return max(s.Standing.At.Sub(s.Standing.OldestDue), 0)
}

// WorkerVersion is that of a relay in the same process, since Asynq knows none.
func (s *state) WorkerVersion(w domain.WorkerStatus) string {
	for _, r := range s.Standing.Relays {
		if r.Host == w.Host && r.PID == w.PID {
			return r.Version
		}
	}
	return ""
}

// BreakerOf returns the breaker of a server, nil if this process has none.
func (s *state) BreakerOf(server string) *Breaker {
	for i := range s.Breakers {
		if s.Breakers[i].Server == server {
			return &s.Breakers[i]
		}
	}
	return nil
}

// watch looks at everything. Looks that are asked for at the same time, or soon
// after one another, are one.
type watch struct {
	o     Options
	group singleflight.Group

	mu   sync.Mutex
	last *state
}

// look takes at most lookPatience.
func (w *watch) look() *state {
	// No single request's context may end what is shared.
	found, _, _ := w.group.Do("", func() (any, error) {
		w.mu.Lock()
		last := w.last
		w.mu.Unlock()
		if last != nil && time.Since(last.At) < fresh {
			return last, nil
		}
		s := w.gather()
		w.mu.Lock()
		w.last = s
		w.mu.Unlock()
		return s, nil
	})
	return found.(*state)
}

// gather asks all sources at the same time. Faults are not logged here: the
// checks of readiness log the same ones, when they begin and when they end.
func (w *watch) gather() *state {
	ctx, cancel := context.WithTimeout(context.Background(), lookPatience)
	defer cancel()
	s := &state{At: time.Now()}
	sources := w.o.Sources
	if sources.Findings != nil {
		s.Findings = sources.Findings()
	}
	if sources.Breakers != nil {
		s.Breakers = sources.Breakers()
	}
	var asked sync.WaitGroup
	asked.Go(func() { s.Readiness = w.o.Readiness() })
	if sources.Events != nil {
		asked.Go(func() {
			standing, err := sources.Events.Standing(ctx)
			s.Standing, s.Known = standing, err == nil
		})
	}
	if sources.Queues != nil {
		asked.Go(func() {
			var err, workerless error
			s.Queues, err = sources.Queues.Queues(ctx)
			if err == nil {
				s.Workers, workerless = sources.Queues.Workers(ctx)
			}
			s.QueueKnown = err == nil && workerless == nil
		})
	}
	asked.Wait()
	return s
}
