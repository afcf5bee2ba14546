package consumer

import (
	"context"
	"fmt"

	"github.com/hibiken/asynq"

	"outboxd/client"
)

// Handle returns the handler of a task type for Asynq's mux. What handle changes
// through tx, and only that, happens once for each event: tx confirms the event
// first, and is committed if handle returns nil. Do not commit it or roll it back.
//
// The payload is what the producer gave: see client.Type.Decode. With T =
// *asynq.Task it is in the task. One that cannot be decoded makes the event a dead
// letter at once.
//
// An event that took effect before is done without handle. A delivery that comes
// while another of the same event runs waits for it.
//
// Any error makes Asynq try again, and wrapped with asynq.SkipRetry none. handle
// runs again within the same attempt when its transaction lost against another
// one, or somebody changed a table: what it does beside tx, it then does again.
//
// The transaction may be idle, and may last, until the task's deadline, whatever
// idle_in_transaction_session_timeout and transaction_timeout its role has.
// statement_timeout and lock_timeout stay the role's: they bound the statements
// of handle.
func Handle[T, Tx any](c *Consumer[Tx], handle func(ctx context.Context, tx Tx, payload T) error) asynq.Handler {
	return asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		payload, err := decode[T](task)
		if err != nil {
			return err
		}
		return c.process(ctx, task, func(ctx context.Context, tx Tx) error { return handle(ctx, tx, payload) })
	})
}

func decode[T any](task *asynq.Task) (payload T, err error) {
	if into, whole := any(&payload).(**asynq.Task); whole {
		*into = task
		return payload, nil
	}
	if payload, err = client.Type[T](task.Type()).Decode(task.Payload()); err != nil {
		return payload, fmt.Errorf("%w: %w", err, asynq.SkipRetry)
	}
	return payload, nil
}
