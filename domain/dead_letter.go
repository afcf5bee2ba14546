package domain

import (
	"context"
	"fmt"
	"time"
)

// Stage is where an event can be given up.
type Stage string

// The stages. StagePerson is for what people do by hand, such as giving up a failing event.
const (
	StageRelay  Stage = "relay"
	StageWorker Stage = "worker"
	StagePerson Stage = "person"
)

// DeadLetter is an event that the relay, the worker or a person gave up.
type DeadLetter struct {
	Event
	Stage Stage // that gave the event up
	Error string
	// FirstError is the event's first error in the journal, or the last error
	// if the journal has none.
	FirstError    string
	FirstFailedAt time.Time
	DiedAt        time.Time
	// HoldsKey says that the later events of its ordering key wait until this dead letter is discarded or erased, or
	// takes effect after a replay.
	HoldsKey bool
}

// Cursor is the dead letter's place in the order of DeadLetters.List.
func (d *DeadLetter) Cursor() Cursor { return Cursor{Due: d.DiedAt, ID: d.ID} }

// DeadFilter chooses the dead letters that match every field that is not zero.
// The zero DeadFilter chooses all.
type DeadFilter struct {
	IDs       []ID
	Type      string // a * at the end stands for any ending
	Queue     string // as Type
	Stage     Stage
	Error     string        // part of the error, ignoring case
	OlderThan time.Duration // died at least this long ago
	NewerThan time.Duration // died at most this long ago
	ErrorForm string        // the error's form, as DeadGroup.ErrorForm
	NoError   bool          // only dead letters whose error is empty; ErrorForm has no effect then
	Except    []ID          // events to leave out

	OrderingKey string
	HeaderName  string
	HeaderValue string // with HeaderName; "" is any
	Payload     PayloadField
	// NotErrors leaves out dead letters whose error contains one of its texts, ignoring case. NotForms leaves out
	// dead letters whose error has one of its forms (DeadGroup.ErrorForm), also the empty one. NotTypes leaves out
	// events of its types, in which a * at the end stands for any ending.
	NotErrors, NotForms, NotTypes []string
	NotFields                     []PayloadField // leaves out dead letters whose payload has one of these
	NotKeys                       []string       // leaves out dead letters of these ordering keys
	NotHeaders                    []Header       // leaves out dead letters that have one of these

	// Since leaves out events that died before this time, by the database's clock.
	Since time.Time
	// Until leaves out events that died after this time, by the database's clock. So a replay in several batches
	// does not replay an event again that it has just replayed and that died again.
	Until time.Time
}

// At returns the filter with absolute times in place of times that are relative to now, so that work in several
// steps chooses the same events in each step. The returned filter leaves out events that die after now.
func (f DeadFilter) At(now time.Time) DeadFilter {
	if f.NewerThan > 0 {
		f.Since, f.NewerThan = later(f.Since, now.Add(-f.NewerThan)), 0
	}
	if f.Until.IsZero() || f.Until.After(now) {
		f.Until = now
	}
	if f.OlderThan > 0 {
		if old := now.Add(-f.OlderThan); old.Before(f.Until) {
			f.Until = old
		}
		f.OlderThan = 0
	}
	return f
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// DeadGroup counts the dead letters of one type and stage whose errors have the same form.
type DeadGroup struct {
	Type      string
	ErrorForm string // the error with # for each UUID and number; a long one is cut
	Stage     Stage
	Count     int
	FirstDied time.Time
	LastDied  time.Time
}

// DeadCount is how many dead letters a filter chooses.
type DeadCount struct {
	Matched int64       // counted up to the limit; 0 if the time was not enough to count them
	More    bool        // there may be more than Matched
	Types   int         // how many types the counted dead letters have
	Largest []TypeCount // the types with the most dead letters, at most 20, the largest first
	// Queues has the queues of the counted dead letters, at most 1,000, those with the most dead letters first.
	Queues []QueueCount
	At     time.Time // when they were counted, by the database's clock
}

// TypeCount is how many dead letters one event type has.
type TypeCount struct {
	Type  string
	Count int64
}

// QueueCount is how many of the events in question one queue has.
type QueueCount struct {
	Queue string
	Count int64
}

// Replayed is a dead letter that was put back into the outbox.
type Replayed struct {
	ID         ID
	Generation int // the new one
	Type       string
}

// ReplayOutcomes counts replayed events by their present state.
type ReplayOutcomes struct{ Confirmed, Dead, Open int }

// DeadLetters reads, replays and discards dead letters. Its methods are safe for concurrent use by any number of
// processes: each dead letter is replayed or discarded only once.
//
// Errors: CodeUnavailable if the database cannot be reached.
type DeadLetters interface {
	ActionEnds

	// List returns up to limit dead letters after a cursor, in the order in which they died.
	List(ctx context.Context, filter DeadFilter, after Cursor, limit int) ([]DeadLetter, error)

	// Groups reads the newest dead letters that match, at most limit. Groups returns their largest groups. The result
	// more says that groups or dead letters may have been left out.
	Groups(ctx context.Context, filter DeadFilter, limit int) (groups []DeadGroup, more bool, err error)

	// Values reads the newest dead letters that match, at most limit and at most 16 MiB of payloads. Values returns how
	// many of them have which value in the payload field with this path, which must not be empty.
	Values(ctx context.Context, filter DeadFilter, path []string, limit int) (FieldValues, error)

	// Fields returns the names of payload fields as FieldsOf, from a sample of up to 100 payloads of the newest dead
	// letters that match. The sample has no large payloads.
	Fields(ctx context.Context, filter DeadFilter) ([]string, error)

	// Actions returns up to limit recorded actions of people that are older than the action with
	// the ID after, newest first. If after is zero, Actions begins with the newest action. If no
	// action has the ID after, Actions returns none.
	Actions(ctx context.Context, after ID, limit int) ([]RecordedAction, error)

	// Action returns one action. Errors: CodeNotFound too.
	Action(ctx context.Context, id ID) (*RecordedAction, error)

	// Count counts the dead letters that match, up to limit and for the given time. A limit of 0 means no limit, and so
	// does a time of 0.
	Count(ctx context.Context, filter DeadFilter, limit int, patience time.Duration) (DeadCount, error)

	// Replay puts up to limit dead letters back into the outbox, due now, under a new
	// generation and with no attempt charged. Replay skips dead letters that another
	// transaction is replaying or discarding. If Replay returns no event and no error, the
	// only matching dead letters left are those that it skipped. If the error is a
	// *ReplayRefused, the outbox refuses the dead letter that the error names, and nothing
	// was replayed. The next call should leave out that dead letter.
	Replay(ctx context.Context, action *Action, filter DeadFilter, limit int) ([]Replayed, error)

	// Discard removes up to limit dead letters for good, and returns how many.
	Discard(ctx context.Context, action *Action, filter DeadFilter, limit int) (int, error)

	// Outcomes counts replayed events by their state. The parameter unconfirmed lists the types whose events no
	// consumer confirms. These events count as confirmed once they were handed to Redis.
	Outcomes(ctx context.Context, events []Replayed, unconfirmed []string) (ReplayOutcomes, error)
}

// FailedTask is a task whose handler failed.
type FailedTask struct {
	// Event has the fields that a task carries: ID, generation, type, payload, headers, queue and options.
	Event
	Attempt int // 1 is the first
	Err     error
	// By is the action of the person who gave the task up; nil: the worker gave it up.
	By *Action
}

// Burial says what Bury found.
type Burial int

// The burials.
const (
	Buried        Burial = iota // the event is a dead letter now
	BuriedBefore                // the event was a dead letter before
	Superseded                  // the task is of an older generation: the event was replayed or rescheduled in the meantime
	ConfirmedOnce               // the effect is committed although the handler failed, or the event was cancelled
	NotOnRecord                 // the database does not know the event
	BuriedEarly                 // the event may not take effect yet, and stays where it is; the relay makes a new task when the event may
	BusyElsewhere               // another transaction is confirming, cancelling or moving the event; it stays where it is, so call Bury again
)

// FailedTasks records tasks that failed. Its methods are safe for concurrent
// use, by any number of processes.
//
// Errors: CodeUnavailable if the database cannot be reached.
type FailedTasks interface {
	// Failed adds an entry for a failed attempt to the journal.
	Failed(ctx context.Context, task FailedTask) error

	// Retried adds an entry to the journal for each event whose failed task a person retries at once. Retried reads
	// only ID, Generation and Attempts of each event. It leaves out events that the database does not know.
	Retried(ctx context.Context, events []Event, by *Action) error

	// Bury makes an event a dead letter, if it is pending, held or in flight. If no table has the event, Bury makes
	// the dead letter from the task, unless onRecord is set. A second call of Bury for the same event is harmless.
	// Bury waits only briefly for other transactions, because one may stay open for hours; see BusyElsewhere.
	Bury(ctx context.Context, task FailedTask, onRecord bool) (Burial, error)

	// Unburied returns those of the given events that are pending, held or in flight.
	Unburied(ctx context.Context, ids []ID) ([]ID, error)
}

// ReplayRefused is the error for a dead letter that the CHECK constraints of the table outbox refuse, for example
// after a restore. The event stays a dead letter.
type ReplayRefused struct {
	ID    ID
	Cause error
}

func (e *ReplayRefused) Error() string {
	return fmt.Sprintf("event %s: %v", e.ID, e.Cause)
}

func (e *ReplayRefused) Unwrap() error { return e.Cause }
