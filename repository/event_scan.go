package repository

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"outboxd/domain"
)

// eventScan reads events from rows of eventColumns. Its targets are the types
// that pgx reads without a detour, and are used again for each row.
type eventScan struct {
	columns []any

	id                                   [16]byte
	payload, headers                     []byte
	kind, queue                          string
	maxRetry, timeout, retention, unique pgtype.Int4
	deadline                             pgtype.Timestamptz
	available, created                   time.Time
	attempts, generation                 int
	lastError                            pgtype.Text
}

// newEventScan returns a scan whose columns are followed by more.
func newEventScan(more ...any) *eventScan {
	s := &eventScan{}
	s.columns = append([]any{
		&s.id, &s.kind, &s.payload, &s.headers, &s.queue, &s.maxRetry, &s.timeout, &s.deadline,
		&s.retention, &s.unique, &s.available, &s.attempts, &s.generation, &s.lastError, &s.created,
	}, more...)
	return s
}

// event returns the event of the row that was scanned last.
func (s *eventScan) event() (domain.Event, error) {
	e := domain.Event{
		ID: s.id, Type: s.kind, Payload: s.payload, Queue: s.queue, Available: s.available, Attempts: s.attempts,
		Generation: s.generation, LastError: s.lastError.String, CreatedAt: s.created,
		Options: domain.TaskOptions{
			Timeout: wholeSeconds(s.timeout), Retention: wholeSeconds(s.retention), Unique: wholeSeconds(s.unique), Deadline: s.deadline.Time,
		},
	}
	if s.maxRetry.Valid {
		n := int(s.maxRetry.Int32)
		e.Options.MaxRetry = &n
	}
	if string(s.headers) != "{}" {
		if err := json.Unmarshal(s.headers, &e.Headers); err != nil {
			return e, fmt.Errorf("read the headers of event %s: %w", e.ID, err)
		}
	}
	return e, nil
}

func wholeSeconds(n pgtype.Int4) time.Duration { return time.Duration(n.Int32) * time.Second }
