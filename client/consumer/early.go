package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/client/outage"
)

// ErrTooEarly is the error for a task whose event has an ordering key that has
// another event's turn. That happens where PostgreSQL has gone back to an
// earlier state, by a failover that lost the last commits or by a restore: it
// has forgotten that the event before took effect. The task has to come again.
var ErrTooEarly = errors.New("it is another event's turn")

// IsFailure is for asynq.Config, and set by Run: it says which errors cost a task
// one of its attempts. ErrTooEarly, ErrUnacknowledged and ErrNotTried do not.
func IsFailure(err error) bool {
	return !errors.Is(err, ErrTooEarly) && !errors.Is(err, ErrUnacknowledged) && !errors.Is(err, ErrNotTried)
}

// tooEarly is the SQLSTATE with which outboxd.confirm refuses such an event.
const tooEarly = "OB001"

// named gives an error of outboxd.confirm its name, whatever the driver.
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

// awaitTurn returns nil when it is time to ask again: on its last attempt Asynq
// would archive the task for any other error. When it has waited often enough, the
// task is taken out of the queue instead, because the one that has the turn may need the room:
// the event is in the outbox or held, and the relay makes its task anew. On other attempts it returns err.
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
