package pipeline

import (
	"sync"
	"time"
)

// leaseTime is how long Asynq leases a task, at first and with each extension.
const leaseTime = 30 * time.Second

// A task is known by its queue and its ID.
type task struct{ queue, id string }

// places are those of a server's workers: each is free, or has a task that was
// handed out and whose run has not ended. It is safe for concurrent use.
type places struct {
	all int

	mu    sync.Mutex
	taken map[task]time.Time // until when its lease lasts
}

func newPlaces(all int) *places { return &places{all: all, taken: map[task]time.Time{}} }

// begin notes that a task was handed out.
func (p *places) begin(t task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken[t] = time.Now().Add(leaseTime)
}

// end notes that a task's run has ended.
func (p *places) end(t task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, t)
}

// extend notes that a task's lease was extended.
func (p *places) extend(t task, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, runs := p.taken[t]; runs {
		p.taken[t] = until
	}
}

// leaseGrace is how long after the end of its lease a run has certainly ended:
// Asynq's heartbeats come every five seconds.
const leaseGrace = 15 * time.Second

// free returns how many places are free, at least 1: whoever asks for a task has a
// place for it. Asynq says nothing of a run that ends after its lease.
func (p *places) free() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.taken) >= p.all {
		over := time.Now().Add(-leaseGrace)
		for t, until := range p.taken {
			if until.Before(over) {
				delete(p.taken, t)
			}
		}
	}
	return max(p.all-len(p.taken), 1)
}
