package work

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"go.opentelemetry.io/otel/trace"

	"outboxd/client/spare"
	"outboxd/domain"
	"outboxd/domain/observe"
	"outboxd/jobs/broker"
	"outboxd/jobs/span"
)

// Task is one run of an event's task by a handler.
type Task struct {
	EventID domain.ID
	Type    string
	Payload []byte
	Headers map[string]string
	Attempt int // from 1; attempts that are not charged do not count
}

// Handler handles a task. Only its changes through tx happen exactly once. Handler may be called again for the
// same event if its transaction was not committed: after an error, an outage of the database, or a crash of the
// process. An error with domain.CodeInvalid makes the event a dead letter without a retry.
type Handler func(ctx context.Context, tx domain.Effects, task Task) error

// errStopping is the error of a task that cannot finish because the worker stops. errStopping costs the
// task no attempt.
var errStopping = errors.New("the worker stops")

// errAway is the error of a task whose timeout was reached while the task waited for the database, for its turn,
// or for another task of its event. errAway costs the task no attempt.
var errAway = errors.New("the database could not be reached until the task's time was over")

// mux returns an asynq.Handler that runs each task with the handler of its type. The context running ends when the
// worker must stop.
func (w *Worker) mux(running context.Context) asynq.Handler {
	together := newGroups(running, w)
	return asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		handle, kind := w.handlerOf(task.Type(), together)
		if handle == nil {
			w.metrics.tasks.WithLabelValues("other", "unhandled").Inc()
			return fmt.Errorf("%w: %q", broker.ErrNoHandler, task.Type())
		}
		ctx, cancel := spare.Before(ctx)
		defer cancel()
		begin := time.Now()
		if w.o.Tracer != nil {
			var span trace.Span
			ctx, span = startProcess(ctx, w.o.Tracer, task)
			defer span.End()
		}
		outcome, err := w.process(ctx, running, handle, task)
		span.Fail(trace.SpanFromContext(ctx), err)
		w.metrics.observe(kind, outcome, time.Since(begin), observe.SampledTrace(trace.SpanContextFromContext(ctx), task.Headers()))
		if err != nil {
			err = w.ended(ctx, running, task, err)
		}
		return err
	})
}

// handling runs a task and confirms its event. The result first is false if the event took effect before.
type handling func(ctx, running context.Context, task Task) (first bool, err error)

// handlerOf returns the handling of a task type, or nil if there is none, and the name of the type in the metrics.
// All types that only Options.Any handles share one name in the metrics, because deliveries have too many types for
// one time series each.
func (w *Worker) handlerOf(taskType string, together *groups) (handle handling, kind string) {
	if handler, known := w.o.Handlers[taskType]; known {
		return func(ctx, running context.Context, task Task) (bool, error) {
			return w.single(ctx, running, handler, task)
		}, taskType
	}
	if batch, known := w.o.Batches[taskType]; known {
		return func(ctx, running context.Context, task Task) (bool, error) {
			queue, _ := asynq.GetQueueName(ctx)
			return together.batched(ctx, running, batch, queue, task)
		}, taskType
	}
	out, known := w.o.Outward[taskType]
	if !known {
		out, taskType = w.o.Any, w.o.Name
	}
	if out == nil {
		return nil, ""
	}
	return func(ctx, running context.Context, task Task) (bool, error) {
		return w.outward(ctx, running, together, out, task)
	}, taskType
}

// single runs one task with a handler, in its own transaction.
func (w *Worker) single(ctx, running context.Context, handler Handler, task Task) (first bool, err error) {
	return w.inbox(ctx, running, task.EventID, func(ctx context.Context, tx domain.Effects) error {
		return domain.Recovered("the handler panicked", func() error { return handler(ctx, tx, task) })
	})
}

func (w *Worker) process(ctx, running context.Context, handle handling, task *asynq.Task) (outcome string, err error) {
	id, _, ok := eventOf(ctx, task)
	if !ok {
		return "failed", fmt.Errorf("this task was not relayed from the outbox: %w", asynq.SkipRetry)
	}
	retried, _ := asynq.GetRetryCount(ctx)
	first, err := handle(ctx, running, Task{EventID: id, Type: task.Type(), Payload: task.Payload(), Headers: broker.EventHeaders(task.Headers()), Attempt: retried + 1})
	postponed, wait := isPostponed(err)
	switch {
	case wait:
		return "postponed", postponed
	case errors.Is(err, domain.ErrTooEarly):
		return "early", err
	case isSpared(err):
		return "postponed", err
	case errors.Is(err, domain.ErrUnknownEvent):
		w.unknown.Do(func() {
			w.log.Warn("a task had no effect, because PostgreSQL went back to before its event was committed; outboxd verify counts such tasks", "event_id", id, "task_type", task.Type())
		})
		return "unknown", nil
	case domain.ErrorCode(err) == domain.CodeInvalid:
		return "failed", fmt.Errorf("%w: %w", err, asynq.SkipRetry)
	case err != nil:
		return "failed", err
	case !first:
		w.log.Debug("this event was processed before; nothing to do", "event_id", id, "task_type", task.Type())
		return "repeated", nil
	}
	w.metrics.done(id, observe.SampledTrace(trace.SpanContextFromContext(ctx), task.Headers()))
	return "done", nil
}

// inboxPause is how long a task waits before it tries the database again.
const inboxPause = 500 * time.Millisecond

// inbox calls Inbox.Process, and waits for a database that cannot be reached.
func (w *Worker) inbox(ctx, running context.Context, id domain.ID, effect func(context.Context, domain.Effects) error) (bool, error) {
	return w.whenUsable(ctx, running, func() (bool, error) { return w.o.Inbox.Process(ctx, id, effect) })
}

// whenUsable calls the function ask again while the database cannot be reached, until the task's time is over or
// the worker stops. If the event does not have its turn, awaitTurn decides whether to ask again.
func (w *Worker) whenUsable(ctx, running context.Context, ask func() (first bool, err error)) (bool, error) {
	for {
		first, err := ask()
		if errors.Is(err, domain.ErrTooEarly) {
			if ended := w.awaitTurn(ctx, running, err); ended != nil {
				return false, ended
			}
			continue
		}
		if first || domain.ErrorCode(err) != domain.CodeUnavailable {
			return first, err
		}
		w.outage.Do(func() { w.log.Warn("tasks wait, because the database cannot be reached", "error", err) })
		if stopped := w.awaitDatabase(ctx, running); stopped != nil {
			return false, stopped
		}
	}
}

// awaitDatabase waits for inboxPause. awaitDatabase returns nil if the caller should try the database again,
// otherwise the error with which the task ends.
func (w *Worker) awaitDatabase(ctx, running context.Context) error {
	pause := time.NewTimer(inboxPause)
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
	case <-running.Done():
	}
	if running.Err() != nil {
		return errStopping
	}
	return errAway
}

// awaitTurn handles a task whose event may not take effect yet, for example because another event of its ordering
// key has the turn. awaitTurn returns err, and the task goes back to its queue. But on the last attempt Asynq would
// archive the task. So awaitTurn then waits, and returns nil when the caller should ask again. Only some tasks may
// wait here, because the event with the turn needs a free worker slot. The tasks that may not wait leave their queue.
// Their events are then pending or held, and the relay makes new tasks when the events may take effect.
func (w *Worker) awaitTurn(ctx, running context.Context, err error) error {
	w.early.Do(func() {
		w.log.Info("tasks go back to their queue until their events may take effect: they were moved to a later time, or PostgreSQL went back to a state before the earlier event of their key took effect", "error", err)
	})
	if retried, _ := asynq.GetRetryCount(ctx); !lastAttempt(ctx, retried) {
		return err
	}
	select {
	case w.waiting <- struct{}{}:
	default:
		return fmt.Errorf("%w: %w", err, asynq.RevokeTask)
	}
	defer func() { <-w.waiting }()
	return w.awaitDatabase(ctx, running)
}

func lastAttempt(ctx context.Context, retried int) bool {
	limit, _ := asynq.GetMaxRetry(ctx)
	return retried >= limit
}
