package repository

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"outboxd/domain"
	"outboxd/domain/crashpoint"
	"outboxd/repository/postgres"
)

// Inbox is the domain.Inbox.
type Inbox struct{ db *postgres.Database }

// NewInbox returns the inbox in db.
func NewInbox(db *postgres.Database) *Inbox { return &Inbox{db: db} }

var _ domain.Inbox = (*Inbox)(nil)

// The effect may talk to the outside world for longer than an operator's
// idle_in_transaction_session_timeout or transaction_timeout allows; ended by it, every attempt would
// send its mail and none would be recorded. So would a COMMIT that an operator's
// statement_timeout or lock_timeout ends, because the key's turn is passed on in it. The task's deadline is the bound
// instead. transaction_timeout exists since PostgreSQL 17.
const effectSQL = `SELECT set_config('idle_in_transaction_session_timeout', $1, true), set_config('statement_timeout', $1, true),
    set_config('lock_timeout', '0', true),
    CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL THEN set_config('transaction_timeout', '0', true) END`

// effectPatience bounds an effect whose task has no deadline, and longestPatience
// one whose deadline is far: PostgreSQL takes no timeout beyond 24 days.
const (
	effectPatience  = 5 * time.Minute
	longestPatience = 7 * 24 * time.Hour
)

// The row comes before the effect, not after: a second delivery of the event
// waits here until the first is decided, and so never runs beside it.
const processedSQL = `INSERT INTO inbox (event_id) VALUES ($1) ON CONFLICT DO NOTHING`

// staleEverywhere is how often an effect is begun anew because its connection's
// plans were made before a table was changed: one for each of a large pool.
const staleEverywhere = 20

// Without a row of its own an event was processed before, or does not exist; the
// journal's entry is then written by the same transaction.
const unknownSQL = `SELECT NOT EXISTS (SELECT FROM inbox WHERE event_id = $1)`

// Process implements domain.Inbox.
func (i *Inbox) Process(ctx context.Context, id domain.ID, effect func(context.Context, domain.Effects) error) (bool, error) {
	const doing = "process an event"
	for attempt := 1; ; attempt++ {
		first, err := i.process(ctx, id, effect)
		if err == nil {
			return first, nil
		}
		// The effect may reach beyond the database: once it has begun, only
		// the queue may repeat it. A plan that a change of a table made useless
		// is the exception: it is no fault of the task, which would be charged an
		// attempt, and each connection has it once at most.
		stale := postgres.IsStaleError(err) && attempt < staleEverywhere
		if !stale && (first || attempt >= postgres.StaleConnections || !postgres.IsConnectionLost(err)) || ctx.Err() != nil {
			return first, postgres.TranslateWork(err, doing)
		}
	}
}

// errAsked undoes the transaction that only asked.
var errAsked = errors.New("it was only a question")

// Ask implements domain.Inbox. The row is written and undone: the triggers behind
// it then decide as they would for an effect.
func (i *Inbox) Ask(ctx context.Context, id domain.ID) (bool, error) {
	const doing = "ask whether an event took effect"
	for attempt := 1; ; attempt++ {
		var unknown bool
		_, err := i.db.TransactOnce(ctx, func(tx *gorm.DB) error {
			first, err := begin(ctx, tx, id, &unknown)
			if err == nil && first {
				err = errAsked
			}
			return err
		})
		switch {
		case errors.Is(err, errAsked):
			return true, nil
		case err == nil && unknown:
			return false, domain.ErrUnknownEvent
		case err == nil:
			return false, nil
		case !(postgres.IsStaleError(err) && attempt < staleEverywhere || postgres.IsConnectionLost(err) && attempt < postgres.StaleConnections) || ctx.Err() != nil:
			return false, postgres.TranslateWork(err, doing)
		}
	}
}

// begin writes the event's row. Where it writes none, it says whether the event is unknown.
func begin(ctx context.Context, tx *gorm.DB, id domain.ID, unknown *bool) (first bool, err error) {
	result, err := postgres.Statements(tx).ExecContext(ctx, processedSQL, id)
	if err != nil {
		return false, fmt.Errorf("write the inbox row: %w", err)
	}
	rows, err := result.RowsAffected()
	if err == nil && rows == 0 {
		err = postgres.Statements(tx).QueryRowContext(ctx, unknownSQL, id).Scan(unknown)
	}
	return rows > 0, err
}

func (i *Inbox) process(ctx context.Context, id domain.ID, effect func(context.Context, domain.Effects) error) (first bool, err error) {
	var unknown bool
	_, err = i.db.TransactOnce(ctx, func(tx *gorm.DB) error {
		if _, err := postgres.Statements(tx).ExecContext(ctx, effectSQL, postgres.Milliseconds(patience(ctx))); err != nil {
			return fmt.Errorf("set the transaction's timeouts: %w", err)
		}
		wrote, err := begin(ctx, tx, id, &unknown)
		if err != nil || !wrote {
			return err
		}
		first = true
		crashpoint.Reach(crashpoint.WorkerBegan)
		err = effect(ctx, effects{tx})
		crashpoint.Reach(crashpoint.WorkerEffected)
		return err
	})
	crashpoint.Reach(crashpoint.WorkerCommitted)
	if err == nil && unknown {
		return false, domain.ErrUnknownEvent
	}
	return first, err
}

func patience(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return effectPatience
	}
	return min(max(time.Until(deadline), time.Second), longestPatience)
}
