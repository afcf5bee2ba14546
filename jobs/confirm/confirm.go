// Package confirm lets an Asynq worker of another service confirm the events
// that outboxd relays to it, so that each takes effect once, and is not sent again when
// Redis loses its data.
package confirm

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hibiken/asynq"
)

// ErrNotAnEvent is the error for a task whose ID is not that of an event: it was
// put into Redis by somebody else than outboxd. It wraps asynq.SkipRetry.
var ErrNotAnEvent = fmt.Errorf("the task was not relayed from the outbox: %w", asynq.SkipRetry)

// Option changes how Middleware and Once confirm.
type Option func(*confirmer)

// Schema names the schema of the outbox. Without it Middleware finds the schema
// with its first task, and Once with every call, in one more query: the one on the session's search
// path, or else the only one that its role may use.
func Schema(name string) Option { return func(c *confirmer) { c.schema.given = name } }

// confirmer confirms events in one database. It is safe for concurrent use.
type confirmer struct{ schema schema }

func newConfirmer(options []Option) *confirmer {
	c := &confirmer{}
	for _, set := range options {
		set(c)
	}
	return c
}

// Middleware runs a task's handler inside a transaction of db, which has to be
// the database of the outbox. The transaction confirms the event first, and
// commits if the handler returns nil. The handler finds it by Tx; what it changes
// through it, and only that, happens exactly once. A task whose event was
// confirmed before is done, and its handler does not run; one that is delivered twice at
// the same time waits for the first.
//
// The transaction may be idle, and may last, until the task's deadline, whatever
// idle_in_transaction_session_timeout and transaction_timeout its role has. statement_timeout and lock_timeout
// stay the role's: they bound the handler's own statements.
//
// A transaction that failed because somebody changed a table, or that lost against another one, is repeated, handler
// and all, without costing the task an attempt.
//
// A task whose event does not exist any more, because PostgreSQL went back to before it, is
// done without an effect. One whose ordering key has another event's turn
// ends with ErrTooEarly, unless it is its last attempt: then it
// waits, for a few seconds, and leaves the queue until outboxd sends it again.
//
// Middleware is for a mux that has no tasks but outboxd's. Its errors are retried by
// Asynq, ErrNotAnEvent is not. Set asynq.Config.IsFailure to IsFailure.
func Middleware(db *sql.DB, options ...Option) asynq.MiddlewareFunc {
	c := newConfirmer(options)
	return func(next asynq.Handler) asynq.Handler {
		return again(func(ctx context.Context, task *asynq.Task) error {
			for waited := 0; ; waited++ {
				err := c.process(ctx, db, task, next)
				if !errors.Is(err, ErrTooEarly) {
					return err
				}
				if err := awaitTurn(ctx, waited, err); err != nil {
					return err
				}
			}
		})
	}
}

func (c *confirmer) process(ctx context.Context, db *sql.DB, task *asynq.Task, next asynq.Handler) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin the transaction of a task: %w", err)
	}
	// After a commit it does nothing.
	defer func() { _ = tx.Rollback() }()
	first, err := c.once(ctx, tx)
	if err != nil {
		return err
	}
	if first {
		if err := next.ProcessTask(context.WithValue(ctx, txKey{}, tx), task); err != nil {
			return err
		}
	}
	// Also without an effect: outboxd.confirm may have written why there is none.
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit the effect of a task: %w", err)
	}
	return nil
}

type txKey struct{}

// Tx returns the transaction in which Middleware runs a handler. It ends with
// the handler: do not commit it or roll it back. Without Middleware it is nil.
func Tx(ctx context.Context) *sql.Tx {
	tx, _ := ctx.Value(txKey{}).(*sql.Tx)
	return tx
}

// Once confirms in tx the event of the task that ctx is Asynq's context of. It
// returns false if the event took effect before, or does not exist any more: the effect must then not happen,
// and tx should be committed all the same. Errors: ErrTooEarly, ErrNotAnEvent.
// It is for handlers that have a transaction of their own, and gives it the same timeouts as Middleware does.
func Once(ctx context.Context, tx *sql.Tx, options ...Option) (first bool, err error) {
	return newConfirmer(options).once(ctx, tx)
}

// One round trip for both. A handler that talks to the outside world is idle in its
// transaction meanwhile; ended for that, every attempt would repeat what it did
// outside, and none would be recorded. transaction_timeout exists since PostgreSQL 17, and
// a bound that is running can only be switched off.
const confirmSQL = `
SELECT pg_catalog.set_config('idle_in_transaction_session_timeout', $1::pg_catalog.text, true),
    CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL THEN pg_catalog.set_config('transaction_timeout', '0', true) END,
    %s.confirm($2::pg_catalog.uuid)`

func (c *confirmer) once(ctx context.Context, tx *sql.Tx) (first bool, err error) {
	id, err := EventID(ctx)
	if err != nil {
		return false, err
	}
	schema, err := c.schema.in(ctx, tx)
	if err != nil {
		return false, fmt.Errorf("confirm event %s: %w", id, err)
	}
	var idle, whole sql.NullString
	row := tx.QueryRowContext(ctx, fmt.Sprintf(confirmSQL, schema), strconv.FormatInt(patience(ctx).Milliseconds(), 10), id)
	if err := row.Scan(&idle, &whole, &first); err != nil {
		c.schema.forget()
		return false, fmt.Errorf("confirm event %s: %w", id, named(err))
	}
	return first, nil
}

// handlerPatience bounds a handler whose context has no deadline. Asynq's have one.
const handlerPatience = time.Hour

// patience is how long the transaction may be idle.
func patience(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return handlerPatience
	}
	// PostgreSQL takes the milliseconds as an int.
	return min(max(time.Until(deadline), time.Second), 24*24*time.Hour)
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
