package audit

import (
	"context"
	"time"

	"outboxd/domain"
)

// AccountLine counts the events of one type that were created on one UTC day. Every
// emitted event, and every delivery, is counted in exactly one of the other fields.
type AccountLine struct {
	Day  time.Time
	Type string

	Emitted int64 // counted by the outbox's trigger, apart from the tables

	// Deliveries is how many deliveries were made of the events. Each is also
	// counted in one of the fields below.
	Deliveries int64

	Pending   int64 // in the outbox
	Held      int64 // waiting for the turn of their ordering key
	InFlight  int64 // handed to the queue, and in the history without a confirmation
	Confirmed int64 // in the history, or dropped from it, with a confirmation
	Dead      int64 // dead letters
	// Suppressed is how many unique events had no task, because the task of
	// another event took their place.
	Suppressed int64
	Cancelled  int64 // cancelled before they took effect

	Expired    int64 // dropped from the history without a confirmation
	Unrecorded int64 // handed to the queue while no history was kept
	Discarded  int64 // by a person
	Repeated   int64 // written again under the ID of another event, and absorbed by it
}

// Add adds the counts of another line.
func (l *AccountLine) Add(other *AccountLine) {
	l.Emitted += other.Emitted
	l.Deliveries += other.Deliveries
	l.Pending += other.Pending
	l.Held += other.Held
	l.InFlight += other.InFlight
	l.Confirmed += other.Confirmed
	l.Dead += other.Dead
	l.Suppressed += other.Suppressed
	l.Cancelled += other.Cancelled
	l.Expired += other.Expired
	l.Unrecorded += other.Unrecorded
	l.Discarded += other.Discarded
	l.Repeated += other.Repeated
}

// Difference is how many emitted events are counted in no field. If it is
// negative, it is how many were never emitted, or are counted twice.
func (l *AccountLine) Difference() int64 {
	return l.Emitted + l.Deliveries - l.Pending - l.Held - l.InFlight - l.Confirmed - l.Dead - l.Suppressed - l.Cancelled - l.Expired - l.Unrecorded - l.Discarded - l.Repeated
}

// Violation is one event that breaks a promise.
type Violation struct {
	ID     domain.ID
	Broken string // a few words, such as "in two places"
	Detail string
}

// TaskWithoutEvent is a task whose event no longer exists, because the database
// went back to before the event was written. The task had no effect.
type TaskWithoutEvent struct {
	EventID domain.ID
	At      time.Time // when a worker met it last
}

// Auditor reads the account and looks for events that contradict it. Its
// methods change nothing.
//
// Errors: CodeUnavailable if the database cannot be reached.
type Auditor interface {
	// Account returns the account of all events, by day and type, as of one
	// moment.
	Account(ctx context.Context) ([]AccountLine, error)

	// Violations returns up to limit events that are in more than one table, or
	// are held although no event of their key is on its way. An event that was
	// emitted more than once under one ID may be in several tables; so
	// Violations looks only at the days and types for which the account has more
	// events than were emitted.
	Violations(ctx context.Context, account []AccountLine, limit int) ([]Violation, error)

	// Unconfirmed returns up to limit events with IDs after the given one, in
	// the order of their IDs, that were handed to the queue at least a minute
	// ago and are not confirmed. Types in except are left out.
	Unconfirmed(ctx context.Context, after domain.ID, limit int, except []string) ([]domain.SentEvent, error)

	// Confirmed returns which of the events are confirmed by now, or are no
	// longer in the history.
	Confirmed(ctx context.Context, ids []domain.ID) (map[domain.ID]bool, error)

	// WithoutEvent returns up to limit tasks that had no event, from the
	// journal, the latest first.
	WithoutEvent(ctx context.Context, limit int) ([]TaskWithoutEvent, error)
}
