package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/client/outage"
)

// ErrTooEarly is the error for a task whose event must wait: its ordering key
// has another event's turn. That happens after PostgreSQL has gone back to an
// earlier state, by a failover that lost the last commits or by a restore. It
// has then forgotten that the earlier event took effect. The task must come
// again.
var ErrTooEarly = errors.New("it is another event's turn")

// IsFailure is for asynq.Config, and Run sets it. It reports whether an error
// costs a task an attempt: ErrTooEarly, ErrUnacknowledged and ErrNotTried do not.
func IsFailure(err error) bool {
	return !errors.Is(err, ErrTooEarly) && !errors.Is(err, ErrUnacknowledged) && !errors.Is(err, ErrNotTried)
}

// tooEarly is the SQLSTATE with which outboxd.confirm refuses such an event.
const tooEarly = "OB001"

// named returns the named error for an error of outboxd.confirm, for any
// driver.
func named(err error) error {
	if outage.State(err) == tooEarly {
		return fmt.Errorf("%w: %w", ErrTooEarly, err)
	}
	return err
}

// A task on its last attempt waits for turnPause before it asks again, turnPauses
// times.
const (
	turnPause  = 500 * time.Millisecond
	turnPauses = 6
)

// awaitTurn returns err, which gives the task back. On the last attempt Asynq would archive the
// task, so awaitTurn waits instead, and returns nil when it is time to ask again. After several
// waits the task is removed from the queue, because the task with the turn may need its place. Its
// event is in the outbox or held, and the relay will make its task again.
func awaitTurn(ctx context.Context, event Event, waited int, err error) error {
	if event.Attempt < event.Attempts {
		return err
	}
	if waited >= turnPauses {
		return fmt.Errorf("%w: %w", err, asynq.RevokeTask)
	}
	if !pause(ctx, turnPause) {
		return err
	}
	return nil
}
