package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/client/outage"
)

// ErrTooEarly is the error for a task whose event may not take effect yet, for one of two
// reasons. Either an earlier event of the same ordering key has the turn. That happens
// after a failover that lost the last commits, or after a restore: PostgreSQL then no
// longer knows that the earlier event took effect. Or the event was moved to a later time
// when its task was in Redis already. The task must run again later.
var ErrTooEarly = errors.New("it is another event's turn")

// IsFailure is for asynq.Config.IsFailure, and Run sets it there. IsFailure reports whether an error costs a task an
// attempt. ErrTooEarly, ErrUnacknowledged and ErrNotTried cost no attempt.
func IsFailure(err error) bool {
	return !errors.Is(err, ErrTooEarly) && !errors.Is(err, ErrUnacknowledged) && !errors.Is(err, ErrNotTried)
}

// tooEarly is the SQLSTATE with which outboxd.confirm refuses an event that may not
// take effect yet. If the event was moved to a later time while confirm waited for that
// move, the commit fails with tooEarly.
const tooEarly = "OB001"

// named turns an error of outboxd.confirm or of a commit into ErrTooEarly if the error has the SQLSTATE tooEarly. named
// works with any driver.
func named(err error) error {
	if outage.State(err) == tooEarly {
		return fmt.Errorf("%w: %w", ErrTooEarly, err)
	}
	return err
}

// A task on its last attempt waits for turnPause before it tries to confirm its
// event again. Such a task waits at most turnPauses times.
const (
	turnPause  = 500 * time.Millisecond
	turnPauses = 6
)

// awaitTurn returns err, with which the task goes back to its queue. On the last attempt Asynq would archive the task.
// Then awaitTurn waits instead, and returns nil when the task should try again. After several waits, or when the task's
// time is over, the error of awaitTurn removes the task from the queue, so that the worker is free for the task whose
// turn it is. The event stays pending or held, and the relay will enqueue it again.
func awaitTurn(ctx context.Context, event Event, waited int, err error) error {
	if event.Attempt < event.Attempts {
		return err
	}
	if waited >= turnPauses || !pause(ctx, turnPause) {
		return fmt.Errorf("%w: %w", err, asynq.RevokeTask)
	}
	return nil
}
