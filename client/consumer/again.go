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

// ErrNotTried is the error for a task of which nothing was tried: until its time was
// over the database could not be reached, or its event cannot be confirmed there,
// because something is missing that the error names. The task comes again and loses
// no attempt.
var ErrNotTried = errors.New("nothing of the task was tried")

// errBegin marks that the transaction did not begin, errConfirm that the event could not
// be confirmed in it, which comes before the handler.
var (
	errBegin   = errors.New("begin the transaction of a task")
	errConfirm = errors.New("confirm the event of a task")
)

func isUntried(err error) bool { return errors.Is(err, errBegin) || errors.Is(err, errConfirm) }

// isAway tells whether an error before the handler passes by itself. An error of the
// driver's own that kept a transaction from beginning is that of a connection.
func isAway(err error) bool {
	return outage.Is(err) || errors.Is(err, errBegin) && outage.State(err) == ""
}

// untriedDelay is when a task comes again that was not tried.
func untriedDelay() time.Duration { return 2*time.Second + rand.N(3*time.Second) }

// notTried is the error of a task of which nothing was tried. On its last attempt
// Asynq would archive it: Run has it put back instead. Elsewhere it is taken out of
// the queue, where its event is missed and sent again.
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
