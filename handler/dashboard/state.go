package dashboard

import (
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"outboxd/domain/diagnosis"
	"outboxd/domain/overview"
)

// fresh is how long the state of the system is cached.
const fresh = time.Second

// Readiness is the answer of /readyz.
type Readiness struct {
	Status string // ok, failing or draining
	Roles  []string
	Checks []Check
}

// Check is the state of one server that this process needs.
type Check struct {
	Name  string
	Fault string // "" if it answers
	Took  time.Duration
}

// state is the state of the system at one moment, for the overview.
type state struct {
	diagnosis.Sight
	Readiness Readiness
	seen      time.Time
}

// Known reports whether PostgreSQL answered, so that the numbers from PostgreSQL
// are known.
func (s *state) Known() bool { return s.Quick.PostgresErr == nil }

// QueueKnown reports whether Redis answered, so that the numbers from Redis are
// known.
func (s *state) QueueKnown() bool { return s.Quick.RedisErr == nil }

// Standing returns how many events are in each state.
func (s *state) Standing() overview.Standing { return s.Quick.Standing }

// Workers returns the workers that are alive: those with a recent heartbeat.
func (s *state) Workers() []overview.WorkerStatus { return s.Quick.Workers }

// InQueue returns how many tasks in Redis are not finished.
func (s *state) InQueue() (n int64) {
	for _, q := range s.Quick.Ours() {
		n += q.Unfinished()
	}
	return n
}

// Retrying returns how many tasks have failed and wait for their next attempt.
func (s *state) Retrying() (n int64) {
	for _, q := range s.Quick.Ours() {
		n += q.Retry
	}
	return n
}

// Late returns how long the oldest due event has been due.
func (s *state) Late() time.Duration { return diagnosis.Late(s.Quick.Standing) }

// TooLate reports whether events have been due for so long that it is a problem.
func (s *state) TooLate() bool { return s.Late() > diagnosis.EventsLate }

// WorkerVersion returns the version of a worker. Asynq does not know a worker's
// version, so WorkerVersion returns the version of the relay in the same process,
// if there is one.
func (s *state) WorkerVersion(w overview.WorkerStatus) string {
	for _, r := range s.Quick.Standing.Relays {
		if r.Host == w.Host && r.PID == w.PID {
			return r.Version
		}
	}
	return ""
}

// BreakerOf returns the circuit breaker of a server if it is open, given the name
// of the server's check; otherwise nil.
func (s *state) BreakerOf(check string) *diagnosis.Breaker {
	for i := range s.Quick.Process.Breakers {
		if s.Quick.Process.Breakers[i].Server == title(check) {
			return &s.Quick.Process.Breakers[i]
		}
	}
	return nil
}

// watch reads the state of the system for the pages. Requests that come at the same
// time, or soon after one another, share the result.
type watch struct {
	o     Options
	group singleflight.Group

	mu   sync.Mutex
	last *state
}

// look returns the state of the system. look takes at most as long as Sources.Look
// and Readiness together.
func (w *watch) look() *state {
	// Several requests share this result, so no request's context may end the
	// reading.
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

// tabAge is how old a verdict may be that a page shows in its tab.
const tabAge = time.Minute

// recent returns the last state that was read, if it is not too old. recent itself
// reads nothing.
func (w *watch) recent() *state {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil || time.Since(w.last.seen) > tabAge {
		return nil
	}
	return w.last
}

// gather reads the state from both servers at the same time. gather does not log
// outages: the readiness checks log when an outage begins and ends.
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
