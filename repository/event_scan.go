package repository

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"outboxd/domain"
)

// eventScan reads events from rows of eventColumns. Its targets are the types
// that pgx reads without a detour, and are used again for each row.
type eventScan struct {
	columns []any

	id                                   [16]byte
	payload                              []byte
	kind, queue, headers                 word
	maxRetry, timeout, retention, unique pgtype.Int4
	deadline                             pgtype.Timestamptz
	available, created                   time.Time
	attempts, generation                 int
	lastError, key                       pgtype.Text
	position                             pgtype.Int8
}

// eventWidth is how many columns eventColumns names.
const eventWidth = 17

// newEventScan returns a scan whose columns are followed by more.
func newEventScan(more ...any) *eventScan {
	s := &eventScan{}
	s.columns = append([]any{
		&s.id, &s.kind, &s.payload, &s.headers, &s.queue, &s.maxRetry, &s.timeout, &s.deadline,
		&s.retention, &s.unique, &s.available, &s.attempts, &s.generation, &s.lastError, &s.created, &s.key, &s.position,
	}, more...)
	return s
}

// withoutEvent are the columns for a row that has no event, only more.
func (s *eventScan) withoutEvent() []any {
	columns := slices.Clone(s.columns)
	clear(columns[:eventWidth])
	return columns
}

// event returns the event of the row that was scanned last.
func (s *eventScan) event() (domain.Event, error) {
	e := domain.Event{
		ID: s.id, Type: string(s.kind), Payload: s.payload, Queue: string(s.queue), Available: s.available, Attempts: s.attempts,
		Generation: s.generation, LastError: s.lastError.String, CreatedAt: s.created, OrderingKey: s.key.String, Position: s.position.Int64,
		Options: domain.TaskOptions{
			Timeout: wholeSeconds(s.timeout), Retention: wholeSeconds(s.retention), Unique: wholeSeconds(s.unique), Deadline: s.deadline.Time,
		},
	}
	if s.maxRetry.Valid {
		n := int(s.maxRetry.Int32)
		e.Options.MaxRetry = &n
	}
	if s.headers != "{}" {
		if err := json.Unmarshal([]byte(s.headers), &e.Headers); err != nil {
			return e, fmt.Errorf("read the headers of event %s: %w", e.ID, err)
		}
	}
	return e, nil
}

func wholeSeconds(n pgtype.Int4) time.Duration { return time.Duration(n.Int32) * time.Second }

// word is a text that is mostly the same from row to row. It is made anew only
// where it differs from the row before: three of them would otherwise be more
// than half of what is allocated for an event.
type word string

var _ pgtype.BytesScanner = (*word)(nil)

// ScanBytes implements pgtype.BytesScanner.
func (w *word) ScanBytes(text []byte) error {
	if string(text) != string(*w) {
		*w = word(text)
	}
	return nil
}
