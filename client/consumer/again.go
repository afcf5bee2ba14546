package consumer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/client/outage"
)

// mostTries bounds how often one attempt of a task begins its transaction. After a
// change of a table every connection of the pool may have an outdated plan, and
// fails once because of it.
const mostTries = 20

// beginPause is how long a task waits before it tries the database again.
const beginPause = 500 * time.Millisecond

// ErrNotTried is the error of a task that ended before its handler ran. Either the
// database could not be reached until the task's time was over, or something was
// missing, which the error names, so that the event could not be confirmed. The
// task comes again and loses no attempt.
var ErrNotTried = errors.New("nothing of the task was tried")

// errBegin marks that the transaction did not begin. errConfirm marks that the event
// could not be confirmed in it, which happens before the handler runs.
var (
	errBegin   = errors.New("begin the transaction of a task")
	errConfirm = errors.New("confirm the event of a task")
)

func isUntried(err error) bool { return errors.Is(err, errBegin) || errors.Is(err, errConfirm) }

// isAway reports whether an error before the handler passes by itself. If the
// transaction did not begin and the error has no SQLSTATE, the connection failed.
func isAway(err error) bool {
	return outage.Is(err) || errors.Is(err, errBegin) && outage.State(err) == ""
}

// untriedDelay is the time after which a task comes again that was not tried.
func untriedDelay() time.Duration { return 2*time.Second + rand.N(3*time.Second) }

// notTried returns the error of a task that was not tried. On the last attempt
// Asynq would archive the task. Run puts it back instead. Other servers remove it
// from the queue; the relay then finds it missing and sends the event again.
func notTried(ctx context.Context, event Event, err error) error {
	err = fmt.Errorf("%w: %w", ErrNotTried, err)
	if event.Attempt < event.Attempts {
		return err
	}
	if own, ours := ctx.Value(serverKey{}).(*server); ours {
		id, _ := asynq.GetTaskID(ctx)
		own.spared.Spare(id, untriedDelay())
		return err
	}
	return fmt.Errorf("%w: %w", err, asynq.RevokeTask)
}
