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
// After an error Asynq tries again while attempts are left. After an error that wraps
// asynq.SkipRetry the event becomes a dead letter. Do not return asynq.RevokeTask: it
// only removes the task. The event stays unconfirmed, and the leader may send it again. If
// an event should have no effect, return nil. The function may also be called again within
// the same attempt: if its transaction lost a conflict with another one, or if a table was
// changed. Then what it does outside tx happens again.
//
// The transaction may last, and may be idle, until the task's deadline, because Handle
// sets idle_in_transaction_session_timeout to the time left until then and switches
// transaction_timeout off. The role's statement_timeout and lock_timeout still bound
// the statements of the function.
//
// Handle, HandleBatch and HandleTogether panic if the function is nil, as Asynq's mux does.
func Handle[T, Tx any](c *Consumer[Tx], handle func(ctx context.Context, tx Tx, payload T) error) asynq.Handler {
	refuseNil(handle == nil)
	return asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		payload, err := decode[T](task)
		if err != nil {
			return err
		}
		return c.process(ctx, task, func(ctx context.Context, tx Tx) error { return handle(ctx, tx, payload) })
	})
}

// refuseNil panics at the start of a service whose handler is nil. Otherwise each of its tasks would
// use up its attempts.
func refuseNil(isNil bool) {
	if isNil {
		panic("consumer: nil handler")
	}
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
