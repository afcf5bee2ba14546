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

// mostTries bounds how often one attempt of a task runs its transaction because of
// conflicts and outdated plans. After a table was changed, every connection of the
// pool may have an outdated plan, and each connection then fails once.
const mostTries = 20

// beginPause is how long a task waits before its next transaction, while the
// database cannot be reached.
const beginPause = 500 * time.Millisecond

// ErrNotTried is the error of a task that ended before its handler ran, because its event could not
// be confirmed. Either the database could not be reached until the task's time was over, or the
// database refused the confirmation for a reason that the error names. Asynq runs the task again.
// After the last attempt, on a server that Run did not start, the task is removed from its queue
// instead, and the leader sends the event again (see --relay-missing). But Asynq archives a task of
// another program. The task loses no attempt if asynq.Config.IsFailure is IsFailure, as in Run.
var ErrNotTried = errors.New("nothing of the task was tried")

// errBegin marks an error of BEGIN. errConfirm marks an error of confirming the
// event, which happens before the handler runs.
var (
	errBegin   = errors.New("begin the transaction of a task")
	errConfirm = errors.New("confirm the event of a task")
)

func isUntried(err error) bool { return errors.Is(err, errBegin) || errors.Is(err, errConfirm) }

// isAway reports whether an error that happened before the handler ran may pass by
// itself. An error of BEGIN without a SQLSTATE counts as a failed connection.
func isAway(err error) bool {
	return outage.Is(err) || errors.Is(err, errBegin) && outage.State(err) == ""
}

// untriedDelay is how long Asynq waits before it runs a task again whose handler
// did not run, or whose last attempt lacks only its acknowledgement.
func untriedDelay() time.Duration { return 2*time.Second + rand.N(3*time.Second) }

// notTried returns the error of a task whose handler did not run; see unlessLast.
func notTried(ctx context.Context, event Event, err error) error {
	return unlessLast(ctx, event, fmt.Errorf("%w: %w", ErrNotTried, err))
}

// unlessLast returns an error with which a task goes back to its queue. If this was the
// last attempt of the task, Asynq would archive the task. A server that Run started
// puts the task back instead. On another server the error removes the task from the
// queue; the leader then finds the task missing and sends the event again (see
// --relay-missing). Nobody would send a task of another program again, so Asynq
// archives it there.
func unlessLast(ctx context.Context, event Event, err error) error {
	if event.Attempt < event.Attempts {
		return err
	}
	if own, ours := ctx.Value(serverKey{}).(*server); ours {
		id, _ := asynq.GetTaskID(ctx)
		own.spared.Spare(id, untriedDelay())
		return err
	}
	if event.ID.IsZero() {
		return err
	}
	return fmt.Errorf("%w: %w", err, asynq.RevokeTask)
}
