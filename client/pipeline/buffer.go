package pipeline

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ahead is a task that was taken from Redis but not handed to Asynq's server yet.
type ahead struct {
	task
	message string
	receipt string
	at      time.Time // a moment before the task was taken
}

// buffer has the tasks that were taken from Redis but not handed to Asynq's server
// yet. It is safe for concurrent use.
type buffer struct {
	redis redis.UniversalClient

	mu     sync.Mutex
	tasks  []ahead
	closed bool
	watch  *time.Timer // gives back tasks that Asynq does not ask for

	giving sync.Mutex // held while tasks go back
}

// Asynq's server asks for a task as soon as a worker slot is free. If tasks are still in the buffer when staleAfter has
// passed since the last put, the server has probably stopped or hangs, so these tasks go back to Redis. Once a task was
// taken longer ago than leaseOver, the method next no longer hands it out: its lease ends soon, and 30 s later another
// worker may take it. Until lostFor has passed, the task can still be given back.
const (
	staleAfter = time.Second
	leaseOver  = leaseTime - 5*time.Second
)

// put adds tasks to the buffer. If the buffer is closed, it gives them back to
// their queues.
func (b *buffer) put(tasks []ahead) {
	if len(tasks) == 0 {
		return
	}
	b.mu.Lock()
	b.tasks = append(b.tasks, tasks...)
	closed := b.closed
	if !closed {
		if b.watch == nil {
			b.watch = time.AfterFunc(staleAfter, b.giveBack)
		} else {
			b.watch.Reset(staleAfter)
		}
	}
	b.mu.Unlock()
	if closed {
		b.giveBack()
	}
}

// len returns how many tasks there are.
func (b *buffer) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.tasks)
}

// next removes the first task of a queue from the buffer and returns it.
func (b *buffer) next(queue string) (ahead, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ahead{}, false
	}
	for i, t := range b.tasks {
		if t.queue == queue && time.Since(t.at) < leaseOver {
			b.tasks = append(b.tasks[:i], b.tasks[i+1:]...)
			if len(b.tasks) == 0 && b.watch != nil {
				b.watch.Stop()
			}
			return t, true
		}
	}
	return ahead{}, false
}

// close gives all tasks back to their queues. Tasks that are put later go back at
// once.
func (b *buffer) close() {
	b.mu.Lock()
	b.closed = true
	if b.watch != nil {
		b.watch.Stop()
	}
	b.mu.Unlock()
	b.giveBack()
}

// giveBack moves the remaining tasks to the heads of their queues, in order. giveBack repeats that while the tasks
// certainly belong to this worker, but only for some seconds once the buffer is closed. giveBack first removes the
// tasks from the buffer: after a try without an answer they may be in their queues again, so they must not be
// handed out. If a task cannot be given back, Asynq recovers it after its lease has ended.
func (b *buffer) giveBack() {
	b.giving.Lock()
	defer b.giving.Unlock()
	b.mu.Lock()
	tasks := b.tasks
	b.tasks = nil
	b.mu.Unlock()
	const longest = 2 * time.Second
	for pause := 100 * time.Millisecond; len(tasks) > 0; pause = min(2*pause, longest) {
		if tasks = b.give(tasks); len(tasks) == 0 || pause == longest && b.isClosed() {
			return
		}
		<-time.After(pause) // bounded, and no context bounds it further
	}
}

func (b *buffer) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// give tries once to move tasks back to the heads of their queues, and returns the tasks for which another try
// may help: all but those that are back, or not this worker's any more. give gives the first task back last, so that
// this task is again the first of its queue.
func (b *buffer) give(tasks []ahead) (left []ahead) {
	ctx, all := context.Background(), newPipes(b.redis)
	commands := make([]*redis.Cmd, len(tasks))
	for i := len(tasks) - 1; i >= 0; i-- {
		if t := tasks[i]; time.Since(t.at) < lostFor {
			prefix := queuePrefix(t.queue)
			keys := []string{prefix + "active", prefix + "lease", prefix + "pending", prefix + "t:" + t.id}
			commands[i] = giveBackScript.Eval(ctx, all.to(t.queue), keys, t.id, t.receipt)
		}
	}
	all.send(ctx)
	for i, command := range commands {
		if command == nil || errors.Is(command.Err(), redis.ErrClosed) {
			continue
		}
		if err := command.Err(); err != nil && !redis.HasErrorPrefix(err, errNotFound) {
			left = append(left, tasks[i])
		}
	}
	return left
}
