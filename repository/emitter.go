package repository

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// Emitter writes events in a producer's own transaction.
type Emitter struct{ tx *gorm.DB }

// NewEmitter returns an Emitter for a transaction. It must be the transaction
// of the change that the events announce: otherwise one can commit without the
// other.
func NewEmitter(tx *gorm.DB) *Emitter { return &Emitter{tx: tx} }

// The defaults are COALESCE, so that one statement, prepared once, serves all
// events.
const emitSQL = `
INSERT INTO outbox (id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline,
                    retention_seconds, unique_seconds, available_at, ordering_key)
VALUES (outbox_new_id(), $1, $2, $3, coalesce(nullif($4, ''), 'default'), $5, $6, $7, $8, $9, coalesce($10, now()), nullif($11, ''))
RETURNING id, available_at, created_at, coalesce(ordering_position, 0)`

// Emit writes one event and fills in its ID and times. An empty queue is the
// default one, a zero Available means at once.
//
// Errors: domain.CodeTooLarge if the payload exceeds the outbox's limit, which
// the message says. The transaction has then failed.
func (e *Emitter) Emit(ctx context.Context, event *domain.Event) error {
	headers, err := stored.Headers(event.Headers)
	if err != nil {
		return err
	}
	o := event.Options
	err = postgres.Statements(e.tx).QueryRowContext(ctx, emitSQL,
		event.Type, event.Payload, headers, event.Queue, o.MaxRetry, stored.Seconds(o.Timeout), stored.TimeOrNull(o.Deadline),
		stored.Seconds(o.Retention), stored.Seconds(o.Unique), stored.TimeOrNull(event.Available), event.OrderingKey,
	).Scan(&event.ID, &event.Available, &event.CreatedAt, &event.Position)
	if limit := payloadLimit(err); limit != "" {
		return domain.Wrap(domain.CodeTooLarge, err,
			fmt.Sprintf("the event's payload has %d bytes, and the outbox takes at most %s", len(event.Payload), limit))
	}
	if err != nil {
		return fmt.Errorf("emit an event: %w", err)
	}
	return nil
}

// LockKey lets one transaction at a time write events of an ordering key: a
// second caller waits until the first transaction has ended. So events of the
// key take effect in the order in which their transactions commit. Call it
// before the first event of the key.
func (e *Emitter) LockKey(ctx context.Context, key string) error {
	if _, err := postgres.Statements(e.tx).ExecContext(ctx, "SELECT lock_key($1)", key); err != nil {
		return fmt.Errorf("lock the ordering key %q: %w", key, err)
	}
	return nil
}

// payloadLimit returns the limit in force, such as "1 MiB", if err says that a
// payload exceeds it, and "" otherwise. It reads the limit from the
// constraint's name, because a failed transaction takes no more queries.
func payloadLimit(err error) string {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return ""
	}
	size, found := strings.CutPrefix(pg.ConstraintName, "outbox_payload_has_at_most_")
	if !found {
		return ""
	}
	return strings.NewReplacer("_mib", " MiB", "_kib", " KiB", "_bytes", " bytes").Replace(size)
}

// EmitAlone writes one event in a transaction of its own, for events that
// announce no change of data. Errors: as Emitter.Emit, and
// domain.CodeUnavailable if the database cannot be reached.
func EmitAlone(ctx context.Context, d *postgres.Database, event *domain.Event) error {
	return d.Transact(ctx, "emit an event", func(tx *gorm.DB) error { return NewEmitter(tx).Emit(ctx, event) })
}
