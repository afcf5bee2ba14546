package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/domain"
)

// Task is one delivery of an event's task to its handler.
type Task struct {
	EventID domain.ID
	Payload []byte
	Headers map[string]string
}

// Handler carries out a task. What it changes through tx, and only that,
// happens exactly once. It may be called again for the same event if it
// returned an error, or the process died. An error with domain.CodeInvalid
// sends the task to the archive without a retry.
type Handler func(ctx context.Context, tx domain.Effects, task Task) error

// errNoHandler marks a task that this worker took and cannot carry out.
var errNoHandler = errors.New("no handler for this type of task")

// mux routes a task to its handler, inside the inbox's transaction.
func (w *Worker) mux() asynq.Handler {
	return asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		handler, known := w.o.Handlers[task.Type()]
		if !known {
			w.metrics.tasks.WithLabelValues("other", "unhandled").Inc()
			return fmt.Errorf("%w: %q", errNoHandler, task.Type())
		}
		begin := time.Now()
		outcome, err := w.process(ctx, handler, task)
		w.metrics.observe(task.Type(), outcome, time.Since(begin))
		return err
	})
}

func (w *Worker) process(ctx context.Context, handler Handler, task *asynq.Task) (outcome string, err error) {
	taskID, _ := asynq.GetTaskID(ctx)
	id, err := domain.EventID(taskID)
	if err != nil {
		return "failed", fmt.Errorf("this task was not relayed from the outbox: %w: %w", err, asynq.SkipRetry)
	}
	first, err := w.o.Inbox.Process(ctx, id, func(ctx context.Context, tx domain.Effects) error {
		return recovered(func() error {
			return handler(ctx, tx, Task{EventID: id, Payload: task.Payload(), Headers: task.Headers()})
		})
	})
	switch {
	case domain.ErrorCode(err) == domain.CodeInvalid:
		return "failed", fmt.Errorf("%w: %w", err, asynq.SkipRetry)
	case err != nil:
		return "failed", err
	case !first:
		w.log.Debug("this event was processed before; nothing to do", "event_id", id, "task_type", task.Type())
		return "repeated", nil
	}
	w.metrics.done(id)
	return "done", nil
}
