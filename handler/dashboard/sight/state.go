// Package sight reads the state of the system for the overview, and turns the state into a verdict. Some problems get a
// link to the page with details. The package diagnosis of domain finds the problems.
package sight

import (
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"outboxd/domain/diagnosis"
	"outboxd/domain/overview"
	"outboxd/handler/dashboard/show"
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
	Fault string // why the check failed; "" if the server answers
	Took  time.Duration
}

// State is the state of the system at one moment, for the overview.
type State struct {
	diagnosis.Sight
	Readiness Readiness
	seen      time.Time
}

// Known reports whether PostgreSQL answered, so that the numbers from PostgreSQL
// are known.
func (s *State) Known() bool { return s.Quick.PostgresErr == nil }

// QueueKnown reports whether Redis answered, so that the numbers from Redis are
// known.
func (s *State) QueueKnown() bool { return s.Quick.RedisErr == nil }

// Standing returns how many events are in each state.
func (s *State) Standing() overview.Standing { return s.Quick.Standing }

// Workers returns the workers that are alive: those with a recent heartbeat.
func (s *State) Workers() []overview.WorkerStatus { return s.Quick.Workers }

// InQueue returns how many tasks in Redis are not finished, without the queues that
// only other programs use.
func (s *State) InQueue() (n int64) {
	for _, q := range s.Quick.Ours() {
		n += q.Unfinished()
	}
	return n
}

// Retrying returns how many tasks have failed and wait for their next attempt,
// without the queues that only other programs use.
func (s *State) Retrying() (n int64) {
	for _, q := range s.Quick.Ours() {
		n += q.Retry
	}
	return n
}

// Late returns how long the oldest due event has been due.
func (s *State) Late() time.Duration { return diagnosis.Late(s.Quick.Standing) }

// TooLate reports whether events have been due for so long that it is a problem.
func (s *State) TooLate() bool { return s.Late() > diagnosis.EventsLate }

// BreakerOf returns the circuit breaker of the server whose readiness check has the given name; nil if there is none.
func (s *State) BreakerOf(check string) *diagnosis.Breaker {
	for i := range s.Quick.Process.Breakers {
		if s.Quick.Process.Breakers[i].Server == show.Title(check) {
			return &s.Quick.Process.Breakers[i]
		}
	}
	return nil
}

// Watch reads the state of the system for the pages. Requests that come at the same
// time, or soon after one another, share the result.
type Watch struct {
	readiness func() Readiness
	read      func(maxAge time.Duration) diagnosis.Sight
	group     singleflight.Group

	mu   sync.Mutex
	last *State
}

// NewWatch returns a Watch. The function read returns the state of the system, in which the facts that are cheap to
// read are not older than maxAge. If there is no such function, the state is not known. The function readiness returns
// the answer of /readyz.
func NewWatch(read func(maxAge time.Duration) diagnosis.Sight, readiness func() Readiness) *Watch {
	return &Watch{read: read, readiness: readiness}
}

// Look returns the state of the system. Look reads the state anew if the last one was read
// more than a second ago.
func (w *Watch) Look() *State {
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
	return found.(*State)
}

// tabAge is how old a state may be whose verdict a page shows in the browser's tab.
const tabAge = time.Minute

// Recent returns the last state that was read; nil if there is none, or if it is older than tabAge. Recent itself reads
// nothing.
func (w *Watch) Recent() *State {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil || time.Since(w.last.seen) > tabAge {
		return nil
	}
	return w.last
}

// gather reads the state of the system and the answer of /readyz at the same time. gather
// does not log outages: the readiness checks log when an outage begins and ends.
func (w *Watch) gather() *State {
	s := &State{seen: time.Now()}
	var asked sync.WaitGroup
	asked.Go(func() { s.Readiness = w.readiness() })
	if w.read != nil {
		asked.Go(func() { s.Sight = w.read(fresh) })
	} else {
		s.Sight = diagnosis.Blind()
	}
	asked.Wait()
	return s
}
