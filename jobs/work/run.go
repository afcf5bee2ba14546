package work

import (
	"context"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/domain"
)

// runTime bounds how long a worker goes along an ordering key. Then the next event of
// the key goes through the queue like any other, so that the tasks of others get the
// place.
const runTime = 200 * time.Millisecond

// run is a task, and the next events of its ordering key behind it, each in a
// transaction of its own. The events behind never were in Redis, and the task goes on
// meanwhile.
type run struct {
	w       *Worker
	handler Handler
	until   time.Time
	next    domain.HandOver
}

// alongKey is single, and goes on with the next events of the task's ordering key.
func (w *Worker) alongKey(ctx, running context.Context, handler Handler, task Task) (first bool, err error) {
	queue, _ := asynq.GetQueueName(ctx)
	r := &run{w: w, handler: handler, next: domain.HandOver{Type: task.Type, Queue: queue}}
	first, err = w.inbox(ctx, running, task.EventID, func(ctx context.Context, tx domain.Effects) error {
		r.until = time.Now().Add(runTime)
		r.next = domain.HandOver{Type: task.Type, Queue: queue}
		return r.carryOut(ctx, running, tx, task)
	})
	if r.next.Key != "" {
		r.goOn(ctx, running, err)
	}
	return first, err
}

func (r *run) carryOut(ctx, running context.Context, tx domain.Effects, task Task) error {
	if err := domain.Recovered("the handler panicked", func() error { return r.handler(ctx, tx, task) }); err != nil {
		return err
	}
	if with, able := tx.(domain.Runs); able && running.Err() == nil && time.Now().Before(r.until) {
		with.HandOver(&r.next)
	}
	return nil
}

// goOn lets the next events take effect until none is kept back any more. One that
// fails goes its usual way, on which it can be charged an attempt.
func (r *run) goOn(ctx, running context.Context, err error) {
	going := err == nil
	for going && r.next.Next != (domain.ID{}) {
		going, err = r.step(ctx, running)
	}
	if !going {
		r.letGo(ctx, err)
	}
}

// step lets the event that is kept back take effect. It returns false if that did not
// happen.
func (r *run) step(ctx, running context.Context) (first bool, err error) {
	id, begin := r.next.Next, time.Now()
	kept := r.next
	first, err = r.w.o.Inbox.FollowOn(ctx, id, &r.next, func(ctx context.Context, tx domain.Effects, event domain.Follower) error {
		return r.carryOut(ctx, running, tx, Task{EventID: event.ID, Type: kept.Type, Payload: event.Payload, Headers: event.Headers, Attempt: 1})
	})
	if !first {
		r.next = kept
		return false, err
	}
	r.w.metrics.observe(kept.Type, "done", time.Since(begin), "")
	r.w.metrics.done(id, "")
	return true, nil
}

// letGo lets the event that is kept back go its usual way.
func (r *run) letGo(ctx context.Context, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordPatience)
	defer cancel()
	if err := r.w.o.Inbox.LetGo(ctx, r.next.Key); err != nil {
		r.w.log.Debug("could not let the next event of an ordering key go; the leader does", "event_id", r.next.Next, "error", err, "cause", cause)
	}
}
