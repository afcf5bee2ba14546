package work

import (
	"bytes"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"outboxd/client/spare"
	"outboxd/domain"
)

// Batch is a handler that takes several events of its type and queue at once, in one
// transaction. All of them are confirmed by one statement and committed together.
type Batch struct {
	// Handle carries out the tasks of different events, in the order of their IDs. None of these
	// events took effect before. Its changes through tx happen exactly once; other actions may be
	// repeated.
	//
	// If it returns an error or panics, or if its transaction is not committed,
	// nothing has happened. Then each task is tried by itself: Handle gets one task.
	// So a task loses an attempt only if it fails by itself. A task that is tried
	// again comes alone, too.
	//
	// Behind an event with an ordering key may come the next ones of its key, in their
	// order. They were never in Redis.
	//
	// ctx ends when the time of the first of the tasks is over.
	Handle func(ctx context.Context, tx domain.Effects, tasks []Task) error
	Max    int // tasks at once; 0: 100
	// Wait is how long a task waits for others although a connection is free, but for
	// at most a third of its own time. With 0 it does not wait: the tasks that come while batches are under way form the
	// next batch.
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
		// The batch ends before the task's time does. So what is left decides who is
		// to blame: a database that hangs costs no attempt, and a handler that uses up
		// the time costs one.
		early, cancel := spare.Before(ctx)
		defer cancel()
		if answer := newMember(early, task, nil).in(g.of(queue, task.Type, batch)); !answer.alone {
			return answer.first, answer.err
		}
	}
	return g.w.single(ctx, running, batch.alone, task)
}

// carryOut runs one batch of a handler. Behind each event with an ordering key come the
// next events of that key that wait for their turn, if there is room: they need no
// task, and no turn of relay and Redis for each of them.
func (g *groups) carryOut(of batchOf, batch Batch, run *runLimit, members []*member) {
	var followers []domain.Follower
	begun, begin := false, time.Now()
	err := g.commit(members, func(ctx context.Context, tx domain.Effects, first []*member) (err error) {
		begun = true
		// They were taken one after another, but their goroutines overtake each other.
		slices.SortFunc(first, func(a, b *member) int { return bytes.Compare(a.task.EventID[:], b.task.EventID[:]) })
		if with, able := tx.(domain.Followers); able {
			most := min(run.most(), batch.Max-len(first))
			if followers, err = with.Follow(ctx, taskIDs(first), of.taskType, of.queue, most); err != nil {
				return err
			}
		}
		return batch.Handle(ctx, tx, inOrder(of.taskType, first, followers))
	}, func() bool { return begun && len(followers) == 0 })
	g.complain(of.taskType, len(members)+len(followers), err)
	run.learn(err == nil, len(followers))
	if err == nil {
		for _, f := range followers {
			g.w.metrics.observe(of.taskType, "done", time.Since(begin), "")
			g.w.metrics.done(f.ID, "")
		}
	}
}

// inOrder puts the events that follow others behind these.
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

// runLimit bounds the events that follow others in one batch. One that fails, fails
// all batches that it follows in, until it comes first and alone: so after a failure
// fewer follow, and after each success more again. It is safe for concurrent use.
type runLimit struct{ of atomic.Int64 }

func (l *runLimit) most() int { return int(l.of.Load()) }

func (l *runLimit) learn(succeeded bool, followers int) {
	switch now := l.of.Load(); {
	case followers == 0:
	case succeeded:
		l.of.Store(min(2*now, longestRun))
	default:
		l.of.Store(max(now/8, 1))
	}
}

// longestRun bounds a runLimit: Batch.Max does, too.
const longestRun = 1 << 20
