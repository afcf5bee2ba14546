package repository

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"

	"outboxd/domain"
	"outboxd/domain/crashpoint"
	"outboxd/repository/postgres"
)

// Inbox implements domain.Inbox.
type Inbox struct{ db *postgres.Database }

// NewInbox returns the inbox of db.
func NewInbox(db *postgres.Database) *Inbox { return &Inbox{db: db} }

var _ domain.Inbox = (*Inbox)(nil)

// timeoutsSQL lifts the timeouts of the session for an effect; the task's deadline
// bounds it instead. An effect may talk to the outside world for longer than an
// operator's idle_in_transaction_session_timeout or transaction_timeout allows. If a
// timeout ended it, every attempt would send its mail and none would be recorded. The
// same holds for a statement_timeout or lock_timeout during COMMIT, which passes the
// key's turn on. transaction_timeout exists since PostgreSQL 17.
const timeoutsSQL = `set_config('idle_in_transaction_session_timeout', $1, true), set_config('statement_timeout', $1, true),
    set_config('lock_timeout', '0', true),
    CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL THEN set_config('transaction_timeout', '0', true) END`

// effectPatience bounds an effect whose task has no deadline. longestPatience
// bounds one with a far deadline: PostgreSQL takes no timeout above 24 days.
const (
	effectPatience  = 5 * time.Minute
	longestPatience = 7 * 24 * time.Hour
)

// The row is written before the effect, and together with BEGIN. A second delivery of
// the event waits here until the first has ended, so the two never run at the same time.
const processedSQL = `
WITH wrote AS (INSERT INTO inbox (event_id) VALUES ($2) ON CONFLICT DO NOTHING RETURNING 1)
SELECT EXISTS (SELECT FROM wrote), concat(` + timeoutsSQL + `)`

// staleEverywhere is how often an effect begins again because the plans of its
// connection are older than a change of a table. Each connection of a pool can
// have that once.
const staleEverywhere = 20

// If the insert wrote no row, the event was processed before or does not exist.
// In the second case this transaction has also written an entry in the journal.
const unknownSQL = `SELECT NOT EXISTS (SELECT FROM inbox WHERE event_id = $1)`

// Process implements domain.Inbox.
func (i *Inbox) Process(ctx context.Context, id domain.ID, effect func(context.Context, domain.Effects) error) (bool, error) {
	const doing = "process an event"
	for attempt := 1; ; attempt++ {
		first, err := i.process(ctx, id, effect)
		if err == nil {
			return first, nil
		}
		// The effect may reach beyond the database, so once it has begun, only
		// the queue may repeat it. An outdated plan is the exception: it is no
		// fault of the task, which would be charged an attempt, and each
		// connection has it at most once.
		stale := postgres.IsStaleError(err) && attempt < staleEverywhere
		if !stale && (first || attempt >= postgres.StaleConnections || !postgres.IsConnectionLost(err)) || ctx.Err() != nil {
			return first, postgres.TranslateWork(err, doing)
		}
	}
}

// errAsked undoes the transaction that only asked.
var errAsked = errors.New("it was only a question")

// Ask implements domain.Inbox. It writes the row and undoes it, so that the
// triggers decide as they would for an effect.
func (i *Inbox) Ask(ctx context.Context, id domain.ID) (bool, error) {
	const doing = "ask whether an event took effect"
	for attempt := 1; ; attempt++ {
		first, err := i.process(ctx, id, func(context.Context, domain.Effects) error { return errAsked })
		switch {
		case errors.Is(err, errAsked):
			return true, nil
		case err == nil:
			return first, nil
		case !again(err, attempt) || ctx.Err() != nil:
			return false, postgres.TranslateWork(err, doing)
		}
	}
}

// again tells whether a transaction whose effect has not begun is begun anew.
func again(err error, attempt int) bool {
	return postgres.IsStaleError(err) && attempt < staleEverywhere || postgres.IsConnectionLost(err) && attempt < postgres.StaleConnections
}

func (i *Inbox) process(ctx context.Context, id domain.ID, effect func(context.Context, domain.Effects) error) (first bool, err error) {
	var wrote, unknown bool
	var none any
	opening := &postgres.Opening{SQL: processedSQL, Args: []any{postgres.Milliseconds(patience(ctx)), [16]byte(id)}, Read: postgres.ReadRow(&wrote, &none)}
	_, err = i.db.TransactOpened(ctx, opening, func(tx *gorm.DB) error {
		if !wrote {
			return postgres.Statements(tx).QueryRowContext(ctx, unknownSQL, id).Scan(&unknown)
		}
		first = true
		crashpoint.Reach(crashpoint.WorkerBegan)
		err := effect(ctx, effects{tx: tx, opening: opening})
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
