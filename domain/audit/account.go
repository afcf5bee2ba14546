package audit

import (
	"context"
	"time"

	"outboxd/domain"
)

// AccountLine counts the events of one type that were created on one UTC day. If outboxd keeps its guarantees, each
// emitted event and each delivery is counted in exactly one outcome field, from Pending to Repeated; see Difference.
type AccountLine struct {
	Day  time.Time
	Type string

	Emitted int64 // counted by the outbox's trigger, apart from the tables

	// Deliveries is how many deliveries the relay made of these events. Each delivery is also counted in one of the
	// fields below.
	Deliveries int64

	Pending   int64 // in the outbox
	Held      int64 // waiting for the turn of their ordering key
	InFlight  int64 // handed to the queue, and in the history without a confirmation
	Confirmed int64 // in the history, or dropped from it, with a confirmation
	Dead      int64 // dead letters
	// Suppressed is how many unique events got no task, because another task held the unique lock.
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

// Difference is how many emitted events and deliveries have no outcome. A negative value is how many were never
// emitted, or are counted twice.
func (l *AccountLine) Difference() int64 {
	return l.Emitted + l.Deliveries - l.Pending - l.Held - l.InFlight - l.Confirmed - l.Dead - l.Suppressed - l.Cancelled - l.Expired - l.Unrecorded - l.Discarded - l.Repeated
}

// Violation is one event for which the tables contradict a guarantee of outboxd.
type Violation struct {
	ID     domain.ID
	Broken string // a few words, such as "in more than one place"
	Detail string
}

// TaskWithoutEvent is a task whose event no longer exists, because the database went back to a state before the
// event was written. The task had no effect.
type TaskWithoutEvent struct {
	EventID domain.ID
	At      time.Time // when a worker met it last
}

// Auditor reads the account, and looks for single events that contradict it. Its methods change nothing.
//
// Errors: domain.CodeUnavailable if the database cannot be reached.
type Auditor interface {
	// Account returns the account of all events, by day and type, from one database snapshot.
	Account(ctx context.Context) ([]AccountLine, error)

	// Violations returns up to limit events that are in more than one table, or that have
	// been held for more than a minute and wait for nothing: no event has the turn of their
	// ordering key, no earlier event of the key is in the outbox, and no replay of their
	// subscription runs. A producer may emit one ID more than once; such an event may be in
	// several tables. So Violations lists an event that is in several tables only if, for
	// its day and type, the account counts more events than were emitted.
	Violations(ctx context.Context, account []AccountLine, limit int) ([]Violation, error)

	// Unconfirmed returns up to limit events that are not confirmed, and that were handed to Redis at least a minute
	// ago, or at a time that lies in the future. It returns only IDs that follow the given one, in ascending order.
	// It leaves out events that have only deliveries, and events of the types that the parameter except lists, but
	// not the deliveries of such events.
	Unconfirmed(ctx context.Context, after domain.ID, limit int, except []string) ([]domain.SentEvent, error)

	// Confirmed returns those of these events that are confirmed, or that are no longer in outbox_sent.
	Confirmed(ctx context.Context, ids []domain.ID) (map[domain.ID]bool, error)

	// WithoutEvent reads from the journal up to limit tasks that had no event, newest first.
	WithoutEvent(ctx context.Context, limit int) ([]TaskWithoutEvent, error)
}
