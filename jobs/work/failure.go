package work

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/domain"
	"outboxd/domain/crashpoint"
	"outboxd/domain/setup"
	"outboxd/jobs/broker"
)

// notePatience limits the time for recording a failure, which may come after the task's own timeout.
const notePatience = 5 * time.Second

// buriedError marks an error that need not be noted, because Bury has already decided about the event.
type buriedError struct{ error }

func (e buriedError) Unwrap() error { return e.error }

// ended is called when the handler of a task has returned err, and decides what happens to the task. If Asynq is about
// to archive the task, this method first makes a dead letter of the task's event, because Asynq deletes archived tasks
// after a while. If the database cannot be reached, or another transaction is changing the event, the method waits
// until the task's time is over, and the task is not given up meanwhile.
func (w *Worker) ended(ctx, running context.Context, task *asynq.Task, err error) error {
	retried, _ := asynq.GetRetryCount(ctx)
	if w.o.Failures == nil || isSpared(err) || errors.Is(err, domain.ErrTooEarly) || !errors.Is(err, asynq.SkipRetry) && !lastAttempt(ctx, retried) {
		return err
	}
	failed, ok := w.failedTask(ctx, task, err)
	if !ok {
		return err
	}
	for {
		burial, failure := w.o.Failures.Bury(ctx, failed, false)
		crashpoint.Reach(crashpoint.WorkerBuried)
		switch {
		case failure == nil && burial == domain.ConfirmedOnce:
			// Either the handler's commit succeeded and only its answer was lost, or the event was cancelled.
			return nil
		case failure == nil && burial == domain.BuriedEarly:
			// The task leaves the queue. The relay makes another task when the event may take effect.
			return buriedError{fmt.Errorf("%w: %w: %w", domain.ErrTooEarly, err, asynq.RevokeTask)}
		case failure == nil && burial != domain.BusyElsewhere:
			return buriedError{err}
		case ctx.Err() != nil:
			return err // the task's time is over: note writes the dead letter
		case failure != nil && domain.ErrorCode(failure) != domain.CodeUnavailable:
			w.log.Error("a dead letter could not be written; the task stays in Asynq's archive", "event_id", failed.ID, "error", failure)
			return err
		}
		if failure != nil {
			w.outage.Do(func() { w.log.Warn("tasks wait, because the database cannot be reached", "error", failure) })
		}
		if stopped := w.awaitDatabase(ctx, running); stopped != nil {
			return stopped
		}
	}
}

// failedTask returns what the worker knows about a failed task. failedTask returns false if the task belongs to no
// event, or if its ID is a delivery's and the task does not name the event that it delivers. The outbox would refuse to
// take such a dead letter back. If the delivery exists, the leader's archivist makes the dead letter from its row.
func (w *Worker) failedTask(ctx context.Context, task *asynq.Task, err error) (domain.FailedTask, bool) {
	id, generation, ok := eventOf(ctx, task)
	if !ok {
		return domain.FailedTask{}, false
	}
	queue, _ := asynq.GetQueueName(ctx)
	retried, _ := asynq.GetRetryCount(ctx)
	limit, _ := asynq.GetMaxRetry(ctx)
	event := domain.Event{
		ID: id, Generation: generation, Type: task.Type(), Payload: task.Payload(), Headers: broker.EventHeaders(task.Headers()), Queue: queue,
		Options: domain.TaskOptions{MaxRetry: &limit},
	}
	if name, delivery := setup.SubscriptionOfQueue(queue); delivery {
		if origin, err := domain.ParseID(event.Headers[domain.HeaderOrigin]); err == nil {
			event.Origin, event.Subscription = origin, name
		}
	}
	if event.ID.IsOfDelivery() && event.Origin.IsZero() {
		return domain.FailedTask{}, false
	}
	return domain.FailedTask{
		Event: event, Attempt: retried + 1, Err: broker.Cause(err.Error()),
	}, true
}

// note is called when Asynq reports a failed attempt, and writes a journal entry. If Asynq gives the task up and the
// handler's answer made no dead letter, this method makes it: for example if the last attempt did not end within the
// task's time. If the dead letter cannot be written, the leader's archivist makes it later. A lost journal entry is not
// written later.
func (w *Worker) note(ctx context.Context, task *asynq.Task, err error) {
	var buried buriedError
	postponed, _ := isPostponed(err)
	tried := postponed != nil && postponed.Tried
	if w.o.Failures == nil || errors.As(err, &buried) || isSpared(err) && !tried || errors.Is(err, domain.ErrTooEarly) || errors.Is(err, asynq.ErrLeaseExpired) {
		return
	}
	failed, ok := w.failedTask(ctx, task, err)
	final := !tried && (errors.Is(err, asynq.SkipRetry) || lastAttempt(ctx, failed.Attempt-1))
	if !ok || isBlameless(err) && !final && !tried {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), notePatience)
	defer cancel()
	var failure error
	if final {
		failure = w.bury(ctx, failed)
	} else {
		failure = w.o.Failures.Failed(ctx, failed)
	}
	if failure != nil {
		w.outage.Do(func() { w.log.Warn("a failed attempt could not be recorded", "event_id", failed.ID, "error", failure) })
	}
}

// bury makes a dead letter, and waits for other transactions until ctx ends.
func (w *Worker) bury(ctx context.Context, failed domain.FailedTask) error {
	for {
		burial, err := w.o.Failures.Bury(ctx, failed, false)
		if err == nil && burial == domain.BusyElsewhere {
			err = ctx.Err()
		}
		if err != nil || burial != domain.BusyElsewhere {
			return err
		}
	}
}

// handleError is Asynq's error handler: it logs and records a failed attempt. Asynq calls it once for each attempt that
// fails: the handler returns an error, or the task's context or lease ends before the handler returns. Asynq then
// ignores what the handler returns later.
func (w *Worker) handleError(ctx context.Context, task *asynq.Task, err error) {
	w.note(ctx, task, err)
	id, _ := asynq.GetTaskID(ctx)
	retried, _ := asynq.GetRetryCount(ctx)
	limit, _ := asynq.GetMaxRetry(ctx)
	if isSpared(err) && retried >= limit {
		w.spared.Spare(id, retryDelay(retried, err, task))
	}
	log := w.log.With("task_id", id, "task_type", task.Type(), "attempt", retried+1)
	_, postponed := isPostponed(err)
	switch {
	case postponed:
		log.Debug("a task goes back to the queue and keeps its attempts", "error", err)
	case errors.Is(err, errAway):
		log.Debug("a task goes back to the queue until the database can be reached", "error", err)
	case errors.Is(err, errStopping):
		log.Info("a task goes back to the queue, because the worker stops while the database cannot be reached")
	case errors.Is(err, domain.ErrTooEarly):
		log.Debug("a task goes back until it is its turn")
	case errors.Is(err, broker.ErrNoHandler) && retried >= limit:
		// Asynq archives a task after its last attempt, after this error too.
		log.Error("no handler for this type of task and no attempt left; it is archived")
	case errors.Is(err, broker.ErrNoHandler):
		if tasks := w.unhandled.count(task.Type(), time.Now()); tasks > 0 {
			log.Warn("no handler for this type of task; it goes back to the queue, and no attempt is charged. Start a worker that has the handler, or do not serve this queue here",
				"again_in", unknownDelay, "tasks_since_last_line", tasks)
		}
	case errors.Is(err, asynq.SkipRetry), retried >= limit:
		log.Error("a task used up its attempts and is archived", "error", err)
	default:
		log.Warn("a task failed and is tried again", "attempts_left", limit-retried, "error", err)
	}
}
