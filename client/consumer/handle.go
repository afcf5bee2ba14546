package consumer

import (
	"context"
	"fmt"

	"github.com/hibiken/asynq"

	"outboxd/client"
)

// Handle returns the handler of a task type for Asynq's mux. The changes of handle
// through tx, and only these, happen once for each event: tx confirms the event
// first, and is committed if handle returns nil. Do not commit it or roll it back.
//
// The payload is the producer's; see client.Type.Decode. With T = *asynq.Task it
// is in the task. If it cannot be decoded, the event becomes a dead letter at
// once.
//
// If an event took effect before, its task ends without a call of handle. If
// another task of the same event is running, this one waits for it.
//
// After an error Asynq tries again, unless the error wraps asynq.SkipRetry.
// handle runs again within the same attempt if its transaction lost against
// another one, or somebody changed a table: its actions outside tx are then
// repeated.
//
// The transaction may last, and may be idle, until the task's deadline:
// idle_in_transaction_session_timeout and transaction_timeout are lifted.
// statement_timeout and lock_timeout of the role stay, and bound the statements
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
