package confirm

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
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

// timeoutsSQL replaces the timeouts of the session while an effect runs; the deadline of
// the task bounds the effect instead. An effect may call other servers for longer than the
// operator's idle_in_transaction_session_timeout or transaction_timeout allows. If
// PostgreSQL ended the transaction then, every attempt would call these servers again, and
// no attempt would be confirmed. A short statement_timeout or lock_timeout could end
// COMMIT, during which triggers pass on the turn of the ordering key. The setting
// transaction_timeout exists since PostgreSQL 17.
//
// Changing a setting costs more than reading it, and the last two settings almost always
// are 0 already. So the statement reads them first.
const timeoutsSQL = `set_config('idle_in_transaction_session_timeout', $1, true), set_config('statement_timeout', $1, true),
    CASE WHEN current_setting('lock_timeout') <> '0' THEN set_config('lock_timeout', '0', true) END,
    CASE WHEN current_setting('transaction_timeout', true) <> '0' THEN set_config('transaction_timeout', '0', true) END`

// During an effect, each statement and each pause between two statements may last as long
// as the task had until its deadline when the effect began, at least a second.
// effectPatience is that time for a task without a deadline. longestPatience is the most
// that it can be: PostgreSQL accepts no timeout above 24 days.
const (
	effectPatience  = 5 * time.Minute
	longestPatience = 7 * 24 * time.Hour
)

// The inbox row is written before the effect, together with BEGIN. A second task of the
// same event waits at its INSERT until the first task has ended, so the two never run
// at the same time.
//
// The statement returns a row if the insert wrote one, and only then sets the timeouts.
const processedSQL = `
INSERT INTO inbox (event_id) VALUES ($2) ON CONFLICT DO NOTHING
RETURNING concat(` + timeoutsSQL + `)`

// staleEverywhere is how often at most a transaction is tried if its connections have query plans
// from before a change of a table. Each connection of the pool can have outdated plans once.
const staleEverywhere = 20

// If the insert wrote no row, the event was confirmed or cancelled before, or does not
// exist. If the event does not exist, the journal has an entry about that.
const unknownSQL = `SELECT NOT EXISTS (SELECT FROM inbox WHERE event_id = $1)`

// Process implements domain.Inbox.
func (i *Inbox) Process(ctx context.Context, id domain.ID, effect func(context.Context, domain.Effects) error) (bool, error) {
	const doing = "process an event"
	for attempt := 1; ; attempt++ {
		first, err := i.process(ctx, id, effect)
		if err == nil {
			return first, nil
		}
		// The effect may have called other servers. So once an effect has begun, only the queue may
		// repeat it. An outdated query plan is the exception: the task is not at fault and must not lose
		// an attempt, and each connection has an outdated plan at most once.
		stale := postgres.IsStaleError(err) && attempt < staleEverywhere
		if !stale && (first || attempt >= postgres.StaleConnections || !postgres.IsConnectionLost(err)) || ctx.Err() != nil {
			return first, postgres.TranslateWork(err, doing)
		}
	}
}

// Ask implements domain.Inbox.
func (i *Inbox) Ask(ctx context.Context, id domain.ID) (bool, error) {
	verdicts, err := i.AskAll(ctx, []domain.ID{id})
	if err != nil {
		return false, err
	}
	return verdicts[0].First, verdicts[0].Err
}

// The function again reports whether to repeat a failed transaction, in which no effect has begun
// yet.
func again(err error, attempt int) bool {
	return postgres.IsStaleError(err) && attempt < staleEverywhere || postgres.IsConnectionLost(err) && attempt < postgres.StaleConnections
}

func (i *Inbox) process(ctx context.Context, id domain.ID, effect func(context.Context, domain.Effects) error) (first bool, err error) {
	var wrote, unknown bool
	opening := &postgres.Opening{SQL: processedSQL, Args: []any{postgres.Milliseconds(patience(ctx)), [16]byte(id)}, Read: func(rows pgx.Rows) error {
		wrote = rows.Next()
		return rows.Err()
	}}
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
