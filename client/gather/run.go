package gather

import "sync/atomic"

// RunLimit bounds how many events without a task a batch takes: the next events of the
// ordering keys of its tasks. If such an event fails, its whole batch fails, again and
// again, until the event has its own task and runs alone. So a failure divides the limit
// by eight, and a success doubles it. RunLimit is safe for concurrent use.
type RunLimit struct{ of atomic.Int64 }

// NewRunLimit returns a RunLimit that does not bound the first batch.
func NewRunLimit() *RunLimit {
	l := &RunLimit{}
	l.of.Store(longestRun)
	return l
}

// Most returns how many such events the next batch may take.
func (l *RunLimit) Most() int { return int(l.of.Load()) }

// Learn records the outcome of a batch with that many such events.
func (l *RunLimit) Learn(succeeded bool, events int) {
	switch now := l.of.Load(); {
	case events == 0:
	case succeeded:
		l.of.Store(min(2*now, longestRun))
	default:
		l.of.Store(max(now/8, 1))
	}
}

// longestRun is the upper bound of a RunLimit. The size of a batch is another.
const longestRun = 1 << 20
