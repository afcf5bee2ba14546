package dashboard

import (
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
)

// fresh is how long a look is reused.
const fresh = time.Second

// Readiness is the answer of /readyz.
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

// state is the data of the overview, from one look.
type state struct {
	diagnosis.Sight
	Readiness Readiness
	seen      time.Time
}

// Known reports whether the database answered.
func (s *state) Known() bool { return s.Quick.PostgresErr == nil }

// QueueKnown reports whether Redis answered.
func (s *state) QueueKnown() bool { return s.Quick.RedisErr == nil }

// Standing is where the events are.
func (s *state) Standing() domain.Standing { return s.Quick.Standing }

// Workers are the workers that gave a sign of life.
func (s *state) Workers() []domain.WorkerStatus { return s.Quick.Workers }

// InQueue is how many tasks have not ended.
func (s *state) InQueue() (n int64) {
	for _, q := range s.Quick.Ours() {
		n += q.Unfinished()
	}
	return n
}

// Retrying is how many tasks failed and wait for their next attempt.
func (s *state) Retrying() (n int64) {
	for _, q := range s.Quick.Ours() {
		n += q.Retry
	}
	return n
}

// Late is how long the oldest due event has been due.
func (s *state) Late() time.Duration { return diagnosis.Late(s.Quick.Standing) }

// TooLate reports whether that is a problem.
func (s *state) TooLate() bool { return s.Late() > diagnosis.EventsLate }

// WorkerVersion returns the version of a relay in the same process, because
// Asynq does not know a worker's version.
func (s *state) WorkerVersion(w domain.WorkerStatus) string {
	for _, r := range s.Quick.Standing.Relays {
		if r.Host == w.Host && r.PID == w.PID {
			return r.Version
		}
	}
	return ""
}

// BreakerOf returns the open breaker of a server, given the name of its check;
// nil if there is none.
func (s *state) BreakerOf(check string) *diagnosis.Breaker {
	for i := range s.Quick.Process.Breakers {
		if s.Quick.Process.Breakers[i].Server == title(check) {
			return &s.Quick.Process.Breakers[i]
		}
	}
	return nil
}

// watch looks at everything. Requests at the same time, or soon after one
// another, share a look.
type watch struct {
	o     Options
	group singleflight.Group

	mu   sync.Mutex
	last *state
}

// look takes at most as long as Sources.Look and Readiness together.
func (w *watch) look() *state {
	// The look is shared, so no request's context may end it.
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

// gather asks both servers at the same time. It logs no faults: the readiness
// checks log when they begin and end.
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
