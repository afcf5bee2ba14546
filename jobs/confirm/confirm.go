// Package confirm lets an Asynq worker of another service confirm the events
// that outboxd relays to it, so that each takes effect once, and is not sent again when
// Redis loses its data.
package confirm

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/hibiken/asynq"
)

// ErrNotAnEvent is the error for a task whose ID is not that of an event: it was
// put into Redis by somebody else than outboxd. It wraps asynq.SkipRetry.
var ErrNotAnEvent = fmt.Errorf("the task was not relayed from the outbox: %w", asynq.SkipRetry)

// Middleware runs a task's handler inside a transaction of db, which has to be
// the database of the outbox. The transaction confirms the event first, and
// commits if the handler returns nil. The handler finds it by Tx; what it changes
// through it, and only that, happens exactly once. A task whose event was
// confirmed before is done, and its handler does not run; one that is delivered twice at
// the same time waits for the first.
//
// Middleware is for a mux that has no tasks but outboxd's. Its errors are retried by
// Asynq, ErrNotAnEvent is not.
func Middleware(db *sql.DB) asynq.MiddlewareFunc {
	return func(next asynq.Handler) asynq.Handler {
		return asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return fmt.Errorf("begin the transaction of a task: %w", err)
			}
			// After a commit it does nothing.
			defer func() { _ = tx.Rollback() }()
			first, err := Once(ctx, tx)
			if err != nil || !first {
				return err
			}
			if err := next.ProcessTask(context.WithValue(ctx, txKey{}, tx), task); err != nil {
				return err
			}
			if err := tx.Commit(); err != nil {
				return fmt.Errorf("commit the effect of a task: %w", err)
			}
			return nil
		})
	}
}

type txKey struct{}

// Tx returns the transaction in which Middleware runs a handler. It ends with
// the handler: do not commit it or roll it back. Without Middleware it is nil.
func Tx(ctx context.Context) *sql.Tx {
	tx, _ := ctx.Value(txKey{}).(*sql.Tx)
	return tx
}

// Once confirms in tx the event of the task that ctx is Asynq's context of. It
// returns false if the event took effect before: the effect must then not happen again.
// It is for handlers that have a transaction of their own.
func Once(ctx context.Context, tx *sql.Tx) (first bool, err error) {
	id, err := EventID(ctx)
	if err != nil {
		return false, err
	}
	if err := tx.QueryRowContext(ctx, "SELECT outbox_confirm($1)", id).Scan(&first); err != nil {
		return false, fmt.Errorf("confirm event %s: %w", id, err)
	}
	return first, nil
}

// EventID returns the event that a task carries, in the form of PostgreSQL's
// uuid: the task's ID, without what a replay puts behind it. Give it to whoever the effect reaches outside of
// the database, so that they can tell a repeat.
func EventID(ctx context.Context) (string, error) {
	task, ok := asynq.GetTaskID(ctx)
	if !ok {
		return "", errors.New("this is not the context of a task")
	}
	id, _, _ := strings.Cut(task, ".")
	if !isUUID(id) {
		return "", fmt.Errorf("%.60q: %w", task, ErrNotAnEvent)
	}
	return id, nil
}

func isUUID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i, c := range []byte(text) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
		if dash != (c == '-') || !dash && !hex {
			return false
		}
	}
	return true
}
