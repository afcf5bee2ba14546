package confirm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
)

// ErrTooEarly is the error for a task whose event has an ordering key that has
// another event's turn. That happens where PostgreSQL has gone back to an
// earlier state, by a failover that lost the last commits or by a restore: it
// has forgotten that the event before took effect. The task has to come again.
var ErrTooEarly = errors.New("it is another event's turn")

// IsFailure is for asynq.Config. A task that is too early keeps its attempts.
func IsFailure(err error) bool { return !errors.Is(err, ErrTooEarly) }

// tooEarly is the SQLSTATE with which outbox_confirm refuses such an event.
const tooEarly = "OB001"

// named gives an error of outbox_confirm its name, whatever the driver.
func named(err error) error {
	var state interface{ SQLState() string }
	if errors.As(err, &state) && state.SQLState() == tooEarly {
		return fmt.Errorf("%w: %w", ErrTooEarly, err)
	}
	return err
}

// turnPause is how long a task on its last attempt waits before it asks again.
const turnPause = 500 * time.Millisecond

// awaitTurn returns nil when it is time to ask again: on its last attempt Asynq
// would archive the task for any error. On others it returns err.
func awaitTurn(ctx context.Context, err error) error {
	retried, _ := asynq.GetRetryCount(ctx)
	if limit, ok := asynq.GetMaxRetry(ctx); !ok || retried < limit {
		return err
	}
	pause := time.NewTimer(turnPause)
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return err
	}
}
