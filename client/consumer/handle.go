package consumer

import (
	"context"
	"fmt"

	"github.com/hibiken/asynq"

	"outboxd/client"
)

// Handle returns the handler of a task type for Asynq's mux. What the function handle
// changes through tx, and only that, happens once for each event. The transaction tx
// confirms the event before the function is called, and is committed if the function
// returns nil. Do not commit it or roll it back.
//
// The payload is the one that the producer emitted; see client.Type.Decode. With T =
// *asynq.Task the function gets the task, which contains the payload. If the payload
// cannot be decoded, the event becomes a dead letter without a further attempt.
//
// If an event took effect before, its task succeeds without a call of the function. If
// another task of the same event is running, this task waits for its end.
//
// After an error Asynq tries again while attempts are left, unless the error wraps
// asynq.SkipRetry or asynq.RevokeTask. The function may also be called again within the
// same attempt: if its transaction lost a conflict with another one, or if a table was
// changed. Then what it does outside tx happens again.
//
// The transaction may last, and may be idle, until the task's deadline, because Handle
// sets idle_in_transaction_session_timeout to the time left until then and switches
// transaction_timeout off. The role's statement_timeout and lock_timeout still bound
// the statements of the function.
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
