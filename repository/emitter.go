package repository

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"gorm.io/gorm"

	"outboxd/domain"
)

// Emitter writes events in a producer's own transaction.
type Emitter struct{ tx *gorm.DB }

// NewEmitter returns an Emitter for a transaction. Events written to anything
// but the transaction of the change that they announce are not an outbox.
func NewEmitter(tx *gorm.DB) *Emitter { return &Emitter{tx: tx} }

// One statement with its defaults as COALESCE, so that it is prepared once.
const emitSQL = `
INSERT INTO outbox (id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline,
                    retention_seconds, unique_seconds, available_at)
VALUES (outbox_new_id(), $1, $2, $3, coalesce(nullif($4, ''), 'default'), $5, $6, $7, $8, $9, coalesce($10, now()))
RETURNING id, available_at, created_at`

// Emit writes one event and fills in its ID and times. An empty queue is the
// default one, a zero Available means at once.
func (e *Emitter) Emit(ctx context.Context, event *domain.Event) error {
	headers, err := encodeHeaders(event.Headers)
	if err != nil {
		return err
	}
	o := event.Options
	err = statements(e.tx).QueryRowContext(ctx, emitSQL,
		event.Type, event.Payload, headers, event.Queue, o.MaxRetry, seconds(o.Timeout), timeOrNull(o.Deadline),
		seconds(o.Retention), seconds(o.Unique), timeOrNull(event.Available),
	).Scan(&event.ID, &event.Available, &event.CreatedAt)
	if err != nil {
		return fmt.Errorf("emit an event: %w", err)
	}
	return nil
}

func encodeHeaders(headers map[string]string) (string, error) {
	if len(headers) == 0 {
		return "{}", nil
	}
	text, err := json.Marshal(headers)
	if err != nil {
		return "", fmt.Errorf("encode the event's headers: %w", err)
	}
	return string(text), nil
}

func seconds(d time.Duration) *int64 {
	if d <= 0 {
		return nil
	}
	s := int64((d + time.Second - 1) / time.Second)
	return &s
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
