package repository

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"outboxd/domain"
)

// Outbox is the domain.EventStore: it claims due events and settles them.
//
// A claim is a transaction that stays open while its events are handed to the
// queue. There is no lease that could expire and no state to recover: when a
// process dies, PostgreSQL ends its transaction, and the rows are due again.
type Outbox struct{ db *Database }

// NewOutbox returns the outbox in db.
func NewOutbox(db *Database) *Outbox { return &Outbox{db: db} }

var _ domain.EventStore = (*Outbox)(nil)

// settlePatience ends the claim of a process that stopped without dying, such
// as one that was suspended: PostgreSQL then ends the transaction and gives the
// rows to others.
const settlePatience = time.Minute

const patienceSQL = `SELECT set_config('idle_in_transaction_session_timeout', $1, true)`

// The columns of an event, in the order that scanEvent reads them.
const eventColumns = `id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline,
    retention_seconds, unique_seconds, available_at, attempts, generation, last_error, created_at`

// LIMIT stands above the row locks in the plan of a plain SELECT, so no more
// rows are locked than returned; inside an IN (…) subquery more can be. The
// index outbox_due gives the order without sorting.
const claimSQL = `
SELECT ` + eventColumns + `
FROM outbox
WHERE available_at <= now()
ORDER BY available_at, id
LIMIT $1
FOR UPDATE SKIP LOCKED`

// Claim implements domain.EventStore.
func (o *Outbox) Claim(ctx context.Context, limit int) (domain.Batch, error) {
	const doing = "claim events"
	for attempt := 1; ; attempt++ {
		batch, err := o.claim(ctx, limit)
		if err == nil {
			return batch, nil
		}
		if attempt >= staleConnections || !isConnectionLost(err) || ctx.Err() != nil {
			return nil, translate(err, doing)
		}
	}
}

func (o *Outbox) claim(ctx context.Context, limit int) (domain.Batch, error) {
	// The transaction must outlive ctx: a cancelled one would be rolled back
	// by database/sql under the hands of a batch that is being finished.
	tx := o.db.gorm.WithContext(context.WithoutCancel(ctx)).Begin()
	if tx.Error != nil {
		return nil, fmt.Errorf("begin: %w", tx.Error)
	}
	batch := &batch{tx: tx}
	if err := batch.load(ctx, limit); err != nil {
		_ = batch.Release()
		return nil, err
	}
	if len(batch.events) == 0 {
		return batch, batch.Release()
	}
	return batch, nil
}

// NextDue is answered by the first entry of outbox_due beyond now.
const nextDueSQL = `SELECT available_at FROM outbox WHERE available_at > now() ORDER BY available_at LIMIT 1`

// NextDue implements domain.EventStore.
func (o *Outbox) NextDue(ctx context.Context) (time.Time, error) {
	var due time.Time
	err := o.db.sql.QueryRowContext(ctx, nextDueSQL).Scan(&due)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return due, translate(err, "look for the next due event")
}

// batch is the domain.Batch: an open transaction that holds row locks.
type batch struct {
	tx     *gorm.DB
	events []domain.Event
}

// Events implements domain.Batch.
func (b *batch) Events() []domain.Event { return b.events }

// Release implements domain.Batch. A transaction that has already ended, or
// whose connection is gone, holds nothing that could be released.
func (b *batch) Release() error {
	err := b.tx.Rollback().Error
	if err == nil || errors.Is(err, sql.ErrTxDone) || isConnectionLost(err) {
		return nil
	}
	return translate(err, "release claimed events")
}

func (b *batch) load(ctx context.Context, limit int) error {
	conn := statements(b.tx)
	if _, err := conn.ExecContext(ctx, patienceSQL, milliseconds(settlePatience)); err != nil {
		return fmt.Errorf("set the transaction's timeout: %w", err)
	}
	rows, err := conn.QueryContext(ctx, claimSQL, limit)
	if err != nil {
		return fmt.Errorf("select due events: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		event, err := scanEvent(rows)
		if err != nil {
			return err
		}
		b.events = append(b.events, event)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read due events: %w", err)
	}
	return nil
}

func milliseconds(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }

func scanEvent(rows *sql.Rows) (domain.Event, error) {
	var e domain.Event
	var headers []byte
	var maxRetry, timeout, retention, unique sql.NullInt64
	var deadline sql.NullTime
	var lastError sql.NullString
	err := rows.Scan(&e.ID, &e.Type, &e.Payload, &headers, &e.Queue, &maxRetry, &timeout, &deadline,
		&retention, &unique, &e.Available, &e.Attempts, &e.Generation, &lastError, &e.CreatedAt)
	if err != nil {
		return e, fmt.Errorf("read an event: %w", err)
	}
	if string(headers) != "{}" {
		if err := json.Unmarshal(headers, &e.Headers); err != nil {
			return e, fmt.Errorf("read the headers of event %s: %w", e.ID, err)
		}
	}
	if maxRetry.Valid {
		n := int(maxRetry.Int64)
		e.Options.MaxRetry = &n
	}
	e.Options.Timeout = time.Duration(timeout.Int64) * time.Second
	e.Options.Retention = time.Duration(retention.Int64) * time.Second
	e.Options.Unique = time.Duration(unique.Int64) * time.Second
	e.Options.Deadline = deadline.Time
	e.LastError = lastError.String
	return e, nil
}
