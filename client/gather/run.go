package gather

import "sync/atomic"

// RunLimit bounds how many events without a task a batch takes: the next events of the ordering
// keys of its tasks. If such an event fails, its whole batch fails, again and again, until the
// event has its own task and runs alone. So a failed batch with such events divides the limit by
// eight, and a success doubles it. RunLimit is safe for concurrent use.
type RunLimit struct {
	longest int64
	of      atomic.Int64
}

// NewRunLimit returns a RunLimit for batches of at most that many events. The limit begins
// at that number, so it restricts nothing until a batch has failed.
func NewRunLimit(most int) *RunLimit {
	l := &RunLimit{longest: int64(most)}
	l.of.Store(l.longest)
	return l
}

// Most returns how many such events the next batch may take.
func (l *RunLimit) Most() int { return int(l.of.Load()) }

// Learn records the outcome of a batch with that many such events.
func (l *RunLimit) Learn(succeeded bool, events int) {
	for events > 0 {
		now := l.of.Load()
		next := max(now/8, 1)
		if succeeded {
			next = min(2*now, l.longest)
		}
		if l.of.CompareAndSwap(now, next) {
			return
		}
	}
}
