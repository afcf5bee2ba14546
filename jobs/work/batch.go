package work

import (
	"bytes"
	"context"
	"slices"
	"time"

	"outboxd/domain"
)

// Batch is a handler that takes several events of its type and queue at once, in one
// transaction. All of them are confirmed by one statement and committed together.
type Batch struct {
	// Handle carries the tasks out. They are different events, none of which took
	// effect before, in the order of their IDs. What it changes through tx, and only that, happens exactly once.
	//
	// If it returns an error, panics, or is not committed, nothing has happened, and
	// each task is tried by itself: Handle then gets it alone. So only what fails
	// alone costs its task an attempt. A task that is tried again comes alone, too.
	//
	// ctx ends when the time of the first of the tasks is over.
	Handle func(ctx context.Context, tx domain.Effects, tasks []Task) error
	Max    int // tasks at once; 0: 100
	// Wait is how long a task waits for others where a connection is free. 0: not at
	// all; what comes while batches are under way is the next one.
	Wait time.Duration
}

// defaultMax is the default of Batch.Max.
const defaultMax = 100

// alone lets a single task take effect.
func (b Batch) alone(ctx context.Context, tx domain.Effects, task Task) error {
	return b.Handle(ctx, tx, []Task{task})
}

// batched carries a task out together with others, or by itself where that fails.
func (g *groups) batched(ctx, running context.Context, batch Batch, queue string, task Task) (first bool, err error) {
	if task.Attempt == 1 {
		mine := newMember(ctx, task, nil)
		g.of(queue, task.Type, batch).Add(mine)
		if answer := <-mine.answer; !answer.alone {
			return answer.first, answer.err
		}
	}
	return g.w.single(ctx, running, batch.alone, task)
}

// carryOut runs one batch of a handler.
func (g *groups) carryOut(batch Batch, members []*member) {
	one := func(m *member) (bool, error) {
		return g.w.o.Inbox.Process(m.ctx, m.task.EventID, func(ctx context.Context, tx domain.Effects) error { return batch.alone(ctx, tx, m.task) })
	}
	commit(members, one, g.w.o.Inbox.ProcessAll, func(ctx context.Context, tx domain.Effects, first []*member) error {
		tasks := make([]Task, len(first))
		for i, m := range first {
			tasks[i] = m.task
		}
		// They were taken one after another, but their goroutines overtake each other.
		slices.SortFunc(tasks, func(a, b Task) int { return bytes.Compare(a.EventID[:], b.EventID[:]) })
		return batch.Handle(ctx, tx, tasks)
	})
}
