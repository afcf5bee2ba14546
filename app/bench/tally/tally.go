package tally

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"outboxd/app/bench/env"
)

// Tally counts what was committed. It is safe for concurrent use.
type Tally struct {
	progress *env.Progress
	want     int64
	n        atomic.Int64
	commits  atomic.Int64
	full     chan struct{}
}

// New returns a Tally that waits for the given number of events, and shows their number
// in the progress of e.
func New(e *env.Env, want int) *Tally {
	return &Tally{progress: e.Progress, want: int64(want), full: make(chan struct{})}
}

// Add counts n more events.
func (t *Tally) Add(n int64) {
	t.progress.Add(n)
	if now := t.n.Add(n); now >= t.want && now-n < t.want {
		close(t.full)
	}
}

// Commits returns how many transactions the inboxes that Inbox returned have committed.
func (t *Tally) Commits() int64 { return t.commits.Load() }

// patience is how long the events may take before the benchmark gives up.
const patience = 10 * time.Minute

// Wait returns when all events are counted. Wait fails if ctx ends before that, or after
// 10 minutes.
func (t *Tally) Wait(ctx context.Context) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-t.full:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-limit.C:
		return fmt.Errorf("after %v only %d of %d events took effect", patience, t.n.Load(), t.want)
	}
}
