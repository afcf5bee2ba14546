package domain

import (
	"context"
	"fmt"
	"time"
)

// Stage is where an event can be given up.
type Stage string

// The stages. StagePerson is for actions by hand.
const (
	StageRelay  Stage = "relay"
	StageWorker Stage = "worker"
	StagePerson Stage = "person"
)

// DeadLetter is an event that was given up.
type DeadLetter struct {
	Event
	Stage Stage // that gave the event up
	Error string
	// FirstError is the event's first error in the journal, or the last error
	// if the journal has none.
	FirstError    string
	FirstFailedAt time.Time
	DiedAt        time.Time
	// HoldsKey says that events of its ordering key wait until it is replayed
	// or discarded.
	HoldsKey bool
}

// Cursor is the dead letter's place in the order of DeadLetters.List.
func (d *DeadLetter) Cursor() Cursor { return Cursor{Due: d.DiedAt, ID: d.ID} }

// DeadFilter chooses the dead letters that match every field that is not zero.
// The zero DeadFilter chooses all.
type DeadFilter struct {
	IDs       []ID
	Type      string
	Queue     string
	Stage     Stage
	Error     string        // part of the error, ignoring case
	OlderThan time.Duration // died at least this long ago
	NewerThan time.Duration // died at most this long ago
	ErrorForm string        // the error's form, as DeadGroup.ErrorForm
	Except    []ID          // events to leave out
	// Until leaves out events that died later, by the store's clock. So work in
	// several steps does not meet events again that it has just replayed.
	Until time.Time
}

// Action is something that a person does to events. It is recorded together
// with its effect.
type Action struct {
	ID     ID // given by the store with the first effect
	Actor  string
	Reason string
	// Filter is the filter of the command, by the names of its flags.
	Filter map[string]string
}

// DeadGroup is the dead letters of one type with the same error, apart from IDs
// and numbers in it.
type DeadGroup struct {
	Type      string
	ErrorForm string // the error with # for each ID and number, cut
	Stage     Stage
	Count     int
	FirstDied time.Time
	LastDied  time.Time
}

// The kinds of actions on failing tasks and on queues. The other kinds are named
// where they are done.
const (
	ActionRetry  = "retry"
	ActionGiveUp = "give up"
	ActionPause  = "pause"
	ActionResume = "resume"
)

// ActionRecords keep what people did where the database sees no effect of it. It is
// safe for concurrent use.
type ActionRecords interface {
	// Record records an action that is done. Errors: CodeUnavailable.
	Record(ctx context.Context, kind string, action *Action, events int64) error
}

// RecordedAction is one action of a person: a replay, a discard, a redrive.
type RecordedAction struct {
	At     time.Time
	Actor  string
	Kind   string // such as replay, discard, redrive, retry, give up or cancel
	Filter string // JSON
	Reason string
	Events int64
}

// Replayed is an event that was sent again.
type Replayed struct {
	ID         ID
	Generation int // the new one
	Type       string
}

// ReplayOutcomes counts replayed events by their state now.
type ReplayOutcomes struct{ Confirmed, Dead, Open int }

// DeadLetters reads and changes the events that the relay or the worker gave up.
// Its methods are safe for concurrent use, also by several processes: a dead
// letter is moved once.
//
// Errors: CodeUnavailable if the database cannot be reached.
type DeadLetters interface {
	// List returns up to limit dead letters after a place, those that died
	// first at the beginning.
	List(ctx context.Context, filter DeadFilter, after Cursor, limit int) ([]DeadLetter, error)

	// Groups looks at the limit dead letters that died last. It returns their
	// largest groups, and whether there are more dead letters.
	Groups(ctx context.Context, limit int) (groups []DeadGroup, more bool, err error)

	// Actions returns what people did, the latest first.
	Actions(ctx context.Context, limit int) ([]RecordedAction, error)

	// Count returns how many dead letters there are, up to limit, and the store's
	// time. Without a limit, which is 0, it counts all.
	Count(ctx context.Context, filter DeadFilter, limit int) (int64, time.Time, error)

	// Replay puts up to limit dead letters back into the outbox, due now, under
	// a new generation and with no attempt charged. It skips dead letters that
	// another transaction is moving. If it returns no event and no error, none
	// are left. A *ReplayRefused names a dead letter that the outbox refuses.
	// Nothing was replayed then, and the next call should except it.
	Replay(ctx context.Context, action *Action, filter DeadFilter, limit int) ([]Replayed, error)

	// Discard removes up to limit dead letters for good, and returns how many.
	Discard(ctx context.Context, action *Action, filter DeadFilter, limit int) (int, error)

	// Outcomes counts replayed events by their state. No consumer confirms the
	// types in unconfirmed: their events count as confirmed when the queue has
	// them.
	Outcomes(ctx context.Context, events []Replayed, unconfirmed []string) (ReplayOutcomes, error)
}

// FailedTask is a task whose handler failed.
type FailedTask struct {
	// Event is what the queue knows of the event: its ID, generation, type,
	// payload, headers, queue, and options.
	Event
	Attempt int // 1 is the first
	Err     error
}

// Burial says what Bury found.
type Burial int

// The burials.
const (
	Buried        Burial = iota // it is a dead letter now
	BuriedBefore                // it was a dead letter before
	Superseded                  // it was replayed in the meantime; the task is of an older generation
	ConfirmedOnce               // its effect is committed, although the handler failed
	NotOnRecord                 // the database does not know the event
	BuriedEarly                 // it may not take effect yet, and stays; the relay makes another task of it when it may
)

// FailedTasks records tasks that failed. Its methods are safe for concurrent
// use, by any number of processes.
//
// Errors: CodeUnavailable if the database cannot be reached.
type FailedTasks interface {
	// Failed enters a failed attempt into the journal.
	Failed(ctx context.Context, task FailedTask) error

	// Bury moves an event to the dead letters from whatever table it is in. If
	// it is in none, Bury makes the dead letter from the task, or nothing if
	// onRecord is set. Repeating it is harmless.
	Bury(ctx context.Context, task FailedTask, onRecord bool) (Burial, error)

	// Unburied returns the events that the database has as pending, held or
	// handed to the queue.
	Unburied(ctx context.Context, ids []ID) ([]ID, error)
}

// ReplayRefused is the error for a dead letter that the outbox refuses, because
// it never passed the outbox's present checks. It stays a dead letter.
type ReplayRefused struct {
	ID    ID
	Cause error
}

func (e *ReplayRefused) Error() string {
	return fmt.Sprintf("event %s: %v", e.ID, e.Cause)
}

func (e *ReplayRefused) Unwrap() error { return e.Cause }
