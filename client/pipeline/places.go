package pipeline

import (
	"sync"
	"time"
)

// leaseTime is how long Asynq leases a task, at first and with each extension.
const leaseTime = 30 * time.Second

// task identifies a task by its queue and its ID.
type task struct{ queue, id string }

// places has the worker slots of a server. A slot is free, or it has a task that
// was handed out and is not finished. places is safe for concurrent use.
type places struct {
	all int

	mu    sync.Mutex
	taken map[task]time.Time // until when its lease lasts
	moved time.Time          // when the server last asked for a task, or a slot became free
}

func newPlaces(all int) *places {
	return &places{all: all, taken: map[task]time.Time{}, moved: time.Now()}
}

// ask records that the server asks for a task, or has its answer.
func (p *places) ask() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moved = time.Now()
}

// idle returns for how long the server has not asked for a task although it has a free
// slot; 0 if it has none.
func (p *places) idle() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.taken) >= p.all {
		return 0
	}
	return time.Since(p.moved)
}

// begin is called when a task was handed out: the task takes a worker slot.
func (p *places) begin(t task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken[t] = time.Now().Add(leaseTime)
}

// end records that a task is finished.
func (p *places) end(t task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, t)
	p.moved = time.Now()
}

// extend is called when Asynq has extended the lease of a task, and records the new
// end.
func (p *places) extend(t task, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, runs := p.taken[t]; runs {
		p.taken[t] = until
	}
}

// When leaseGrace has passed since the end of its lease, a task certainly has no worker
// slot any more. Asynq checks leases at its heartbeats, every five seconds.
const leaseGrace = 15 * time.Second

// free returns how many slots are free: at least 1, because Asynq asks for a task only
// when a slot is free. Asynq sends no script for a task that stops after its lease has
// ended, so free also removes such tasks from p.
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
