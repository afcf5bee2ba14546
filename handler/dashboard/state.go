package dashboard

import (
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
)

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

// state is all that the overview shows, as of one look.
type state struct {
	diagnosis.Sight
	Readiness Readiness
	seen      time.Time
}

// Known tells whether the database answered.
func (s *state) Known() bool { return s.Quick.PostgresErr == nil }

// QueueKnown tells whether Redis answered.
func (s *state) QueueKnown() bool { return s.Quick.RedisErr == nil }

// Standing is where the events are.
func (s *state) Standing() domain.Standing { return s.Quick.Standing }

// Workers are those that gave a sign of life.
func (s *state) Workers() []domain.WorkerStatus { return s.Quick.Workers }

// InQueue is how many tasks have still to be done.
func (s *state) InQueue() (n int64) {
	for _, q := range s.Quick.Ours() {
		n += q.Unfinished()
	}
	return n
}

// Retrying is how many of them failed and wait for their next attempt.
func (s *state) Retrying() (n int64) {
	for _, q := range s.Quick.Ours() {
		n += q.Retry
	}
	return n
}

// Late is how long the oldest due event has been due.
func (s *state) Late() time.Duration { return diagnosis.Late(s.Quick.Standing) }

// TooLate tells whether that is a problem.
func (s *state) TooLate() bool { return s.Late() > diagnosis.EventsLate }

// WorkerVersion is that of a relay in the same process, since Asynq knows none.
func (s *state) WorkerVersion(w domain.WorkerStatus) string {
	for _, r := range s.Quick.Standing.Relays {
		if r.Host == w.Host && r.PID == w.PID {
			return r.Version
		}
	}
	return ""
}

// BreakerOf returns the breaker of a server, as its check is called; nil if this
// process has none.
func (s *state) BreakerOf(check string) *diagnosis.Breaker {
	for i := range s.Quick.Process.Breakers {
		if s.Quick.Process.Breakers[i].Server == title(check) {
			return &s.Quick.Process.Breakers[i]
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

// look takes as long as Sources.Look and Readiness.
func (w *watch) look() *state {
	// No single request's context may end what is shared.
	found, _, _ := w.group.Do("", func() (any, error) {
		w.mu.Lock()
		last := w.last
		w.mu.Unlock()
		if last != nil && time.Since(last.seen) < fresh {
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

// gather asks both at the same time. Faults are not logged here: the checks of
// readiness log the same ones, when they begin and when they end.
func (w *watch) gather() *state {
	s := &state{seen: time.Now()}
	var asked sync.WaitGroup
	asked.Go(func() { s.Readiness = w.o.Readiness() })
	if w.o.Sources.Look != nil {
		asked.Go(func() { s.Sight = w.o.Sources.Look(fresh) })
	} else {
		s.Sight = diagnosis.Blind()
	}
	asked.Wait()
	return s
}
