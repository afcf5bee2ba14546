package repository

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"gorm.io/gorm"

	"outboxd/client"
	"outboxd/client/gormoutbox"
	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// Emitter writes events in a producer's own transaction. Emitter uses the module client,
// which other services in Go can use too.
type Emitter struct {
	tx     *gorm.DB
	outbox client.Outbox
}

// NewEmitter returns an Emitter for a transaction in a database whose outbox is in
// schema. tx must be the transaction of the change that the events announce: otherwise
// one of them can commit without the other.
func NewEmitter(tx *gorm.DB, schema string) *Emitter {
	return &Emitter{tx: tx, outbox: client.Outbox{Schema: schema}}
}

// Emit writes one event and fills in its ID. An empty queue means the default queue. A
// zero Available means that the event is due at once.
//
// Errors: domain.CodeTooLarge if the payload is larger than the outbox's limit, and the
// message names the limit; domain.CodeInvalid if something else about the event is wrong.
// The transaction may then have failed.
func (e *Emitter) Emit(ctx context.Context, event *domain.Event) error {
	o := event.Options
	id, err := e.outbox.Emit(ctx, gormoutbox.Tx(e.tx), client.Event{
		Type: event.Type, Payload: event.Payload, Headers: event.Headers, Queue: event.Queue, OrderingKey: event.OrderingKey,
		AvailableAt: event.Available, MaxRetry: o.MaxRetry, Timeout: o.Timeout, Deadline: o.Deadline, Retention: o.Retention, UniqueFor: o.Unique,
	})
	if tooLarge := stored.PayloadTooLarge(err, event.Payload); tooLarge != nil {
		return tooLarge
	}
	if refusal, ok := errors.AsType[*client.Refusal](err); ok {
		if translated := postgres.Translate(refusal.Unwrap(), "emit an event"); domain.ErrorCode(translated) == domain.CodeInvalid {
			return translated
		}
		return domain.Wrap(domain.CodeInvalid, refusal.Unwrap(), strings.TrimSpace("the outbox refuses the event: "+refusal.Field+" "+refusal.Reason))
	}
	if err != nil {
		return fmt.Errorf("emit an event: %w", err)
	}
	event.ID = domain.ID(id)
	return nil
}

// LockKey takes the lock of an ordering key for writing events: a second caller waits
// until the first caller's transaction has ended. If every producer calls LockKey before
// its first event of the key, the events of the key take effect in the order in which the
// producers' transactions commit.
func (e *Emitter) LockKey(ctx context.Context, key string) error {
	if err := e.outbox.LockKey(ctx, gormoutbox.Tx(e.tx), key); err != nil {
		return fmt.Errorf("lock the ordering key %q: %w", key, err)
	}
	return nil
}

// EmitAlone writes one event in a transaction of its own, for events that announce no
// change of data, and fills in its ID and times. Errors: those of Emitter.Emit, and
// domain.CodeUnavailable if the database cannot be reached.
func EmitAlone(ctx context.Context, d *postgres.Database, event *domain.Event) error {
	return d.Transact(ctx, "emit an event", func(tx *gorm.DB) error {
		if err := NewEmitter(tx, d.Schema()).Emit(ctx, event); err != nil {
			return err
		}
		return postgres.Statements(tx).QueryRowContext(ctx, "SELECT available_at, created_at FROM outbox WHERE id = $1", event.ID).
			Scan(&event.Available, &event.CreatedAt)
	})
}
