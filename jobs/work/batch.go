package work

import (
	"bytes"
	"context"
	"slices"
	"time"

	"outboxd/client/gather"
	"outboxd/client/spare"
	"outboxd/domain"
)

// Batch is a handler for several events of one type and queue in one transaction. The transaction confirms the
// events and commits their effects.
type Batch struct {
	// Handle carries out the tasks of different events, in the order of their IDs. None of these events has taken
	// effect before. Changes through tx happen exactly once; other actions may be repeated.
	//
	// If Handle returns an error or panics, or if its transaction is not committed, its changes through tx are
	// undone. Handle is then called again for each task alone, unless the batch was only one event. A task is
	// therefore charged an attempt only if it fails alone. A retried task is also handled alone.
	//
	// An event with an ordering key may be followed by the next events of its key, in order. These next events
	// come directly from the database and have no task in Redis. If the batch fails, they wait for their turn as
	// before.
	//
	// ctx ends a little before the first timeout of the tasks.
	Handle func(ctx context.Context, tx domain.Effects, tasks []Task) error
	Max    int // tasks at once; 0: 100
	// Wait is how long a task waits for further tasks although a batch could begin. A task waits for at most a
	// third of its own timeout. Two batches may run at the same time, or more on a machine with more CPU cores.
	// With 0 a task waits only while no further batch may begin. Then the tasks that wait form the next batch.
	// See Together for a database that is far away.
	Wait time.Duration

	each bool // Handle makes a round trip for each task, so more batches run if PostgreSQL is far away
}

// Together returns a Batch whose Handle calls the given handler for one task after another. The tasks then share a
// transaction although their handler knows nothing of batches. If the handler fails for one task, it runs again for
// the tasks before that one. So what it does outside tx must be repeatable.
//
// A batch of Together makes a round trip to PostgreSQL for each task. So if PostgreSQL is far away, more batches than
// otherwise run at the same time, at most 32 and at most Options.Connections.
func Together(handle Handler) Batch {
	return Batch{each: true, Handle: func(ctx context.Context, tx domain.Effects, tasks []Task) error {
		for _, task := range tasks {
			if err := handle(ctx, tx, task); err != nil {
				return err
			}
		}
		return nil
	}}
}

// defaultMax is the default of Batch.Max.
const defaultMax = 100

// alone calls Handle for a single task.
func (b Batch) alone(ctx context.Context, tx domain.Effects, task Task) error {
	return b.Handle(ctx, tx, []Task{task})
}

// batched runs a task in a batch. If the batch has no result for the task, the task runs alone.
func (g *groups) batched(ctx, running context.Context, batch Batch, queue string, task Task) (first bool, err error) {
	if task.Attempt == 1 {
		// The batch ends before the task's timeout. The rest of the time is for running the task alone, which shows
		// the cause: a database that hangs costs no attempt, a handler that uses up the time costs one.
		early, cancel := spare.Before(ctx)
		defer cancel()
		if answer := newMember(early, task, nil).join(g.gatherer(queue, task.Type, batch)); !answer.alone {
			return answer.first, answer.err
		}
	}
	return g.w.single(ctx, running, batch.alone, task)
}

// carryOut runs one batch of a handler. If there is room in the batch, the worker adds held events: after each
// event with an ordering key come the next events of that key. The added events need neither a task nor a pass of
// the relay.
func (g *groups) carryOut(of batchOf, batch Batch, run *gather.RunLimit, members []*member, leave func()) {
	var followers []domain.Follower
	begun, begin := false, time.Now()
	err := g.commit(members, leave, func(ctx context.Context, tx domain.Effects, first []*member) (err error) {
		if batch.each {
			if err := g.measure(ctx, tx); err != nil {
				return err
			}
		}
		begun = true
		// The worker took the tasks in order, but their goroutines may overtake each other.
		slices.SortFunc(first, func(a, b *member) int { return bytes.Compare(a.task.EventID[:], b.task.EventID[:]) })
		if with, able := tx.(domain.Followers); able {
			most := min(run.Most(), batch.Max-len(first))
			if followers, err = with.Follow(ctx, taskIDs(first), of.taskType, of.queue, most); err != nil {
				return err
			}
		}
		return batch.Handle(ctx, tx, inOrder(of.taskType, first, followers))
	}, func() bool { return begun && len(followers) == 0 })
	g.complain(of.taskType, len(members)+len(followers), err)
	run.Learn(err == nil, len(followers))
	if err == nil {
		for _, f := range followers {
			g.w.metrics.observe(of.taskType, "done", time.Since(begin), "")
			g.w.metrics.done(f.ID, "")
		}
	}
}

// measure finds out now and then how long a round trip to PostgreSQL takes.
func (g *groups) measure(ctx context.Context, tx domain.Effects) error {
	return g.distance.Measure(func() error {
		_, err := tx.Tx().ExecContext(ctx, "SELECT")
		return err
	})
}

// inOrder puts each follower after its owner.
func inOrder(taskType string, first []*member, followers []domain.Follower) []Task {
	behind := make(map[domain.ID][]Task, len(first))
	for _, f := range followers {
		behind[f.Owner] = append(behind[f.Owner], Task{EventID: f.ID, Type: taskType, Payload: f.Payload, Headers: f.Headers, Attempt: 1})
	}
	tasks := make([]Task, 0, len(first)+len(followers))
	for _, m := range first {
		tasks = append(append(tasks, m.task), behind[m.task.EventID]...)
	}
	return tasks
}
