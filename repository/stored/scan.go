package stored

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"outboxd/domain"
)

// Scan reads events from rows of Columns. Scan's targets have types that pgx reads
// directly, and every row uses the same targets.
type Scan struct {
	Targets []any

	id                                   [16]byte
	payload                              []byte
	kind, queue, headers                 word
	maxRetry, timeout, retention, unique pgtype.Int4
	deadline, available, created         moment
	attempts, generation                 pgtype.Int4
	lastError, key                       pgtype.Text
	position                             pgtype.Int8
	origin                               pgtype.UUID
	subscription, split                  word
	headersError                         error
}

// NewScan returns a Scan for rows that have further columns after the columns of the
// event. The arguments are the targets of the further columns.
func NewScan(more ...any) *Scan {
	s := &Scan{}
	for _, c := range columns {
		s.Targets = append(s.Targets, c.target(s))
	}
	s.Targets = append(s.Targets, more...)
	return s
}

// WithoutEvent returns the targets for a row whose event columns are NULL.
func (s *Scan) WithoutEvent() []any {
	targets := slices.Clone(s.Targets)
	clear(targets[:len(columns)])
	return targets
}

// Event returns the event of the row that was scanned last. A part of the event that
// could not be read is empty or has the nearest allowed value; see Unfit.
func (s *Scan) Event() domain.Event {
	e := domain.Event{
		ID: s.id, Type: string(s.kind), Payload: s.payload, Queue: string(s.queue), Available: s.available.Time, Attempts: int(s.attempts.Int32),
		Generation: int(s.generation.Int32), LastError: s.lastError.String, CreatedAt: s.created.Time, OrderingKey: s.key.String, Position: s.position.Int64,
		Origin: s.origin.Bytes, Subscription: string(s.subscription), Split: domain.Split(s.split),
		Options: domain.TaskOptions{
			Timeout: wholeSeconds(s.timeout), Retention: wholeSeconds(s.retention), Unique: wholeSeconds(s.unique), Deadline: s.deadline.Time,
		},
	}
	if s.maxRetry.Valid {
		n := int(s.maxRetry.Int32)
		e.Options.MaxRetry = &n
	}
	s.headersError = nil
	if s.headers != "{}" {
		s.headersError = json.Unmarshal([]byte(s.headers), &e.Headers)
	}
	return e
}

// maxCount is the largest number of attempts or generations that is accepted, so that
// adding to it cannot overflow.
const maxCount = 1_000_000_000

// Unfit returns an unfitError if the event that Event returned last must not be relayed:
// the outbox would refuse its row if the relay had to put it back after a failure. Unfit
// returns nil for almost every row.
func (s *Scan) Unfit() error {
	switch {
	case s.headersError != nil:
		return unfitError{"its headers do not map strings to strings"}
	case s.id == [16]byte{}:
		return unfitError{"its ID is zero, which stands for no event"}
	case s.available.odd:
		return unfitError{"its available_at is not in years 1 to 9999"}
	case s.created.odd:
		return unfitError{"its created_at is not in years 1 to 9999"}
	case !s.deadline.IsZero() && (s.deadline.odd || s.deadline.Before(firstDeadline)):
		return unfitError{"its deadline is not in years 1971 to 9999"}
	case !s.attempts.Valid || s.attempts.Int32 < 0 || s.attempts.Int32 > maxCount:
		return unfitError{"its attempts are not between 0 and 1000000000"}
	case !s.generation.Valid || s.generation.Int32 < 0 || s.generation.Int32 > maxCount:
		return unfitError{"its generation is not between 0 and 1000000000"}
	case s.key.Valid && s.key.String == "":
		return unfitError{"its ordering_key is empty"}
	}
	return nil
}

func wholeSeconds(n pgtype.Int4) time.Duration { return time.Duration(n.Int32) * time.Second }

// word reads a column of text that mostly has the same value in successive rows, such as
// the type. A word allocates memory only if the text differs from that of the row before.
// Otherwise such columns would cause more than half of an event's allocations.
type word string

var _ pgtype.BytesScanner = (*word)(nil)

// ScanBytes implements pgtype.BytesScanner.
func (w *word) ScanBytes(text []byte) error {
	if string(text) != string(*w) {
		*w = word(text)
	}
	return nil
}
