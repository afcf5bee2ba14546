package domain

import (
	"context"
	"time"
)

// Stage is an end of the way of an event at which it can be given up.
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
	Stage Stage // who gave up
	Error string
	// FirstError is the first thing that ever went wrong with the event, as
	// far as the journal goes back; without it, the last one.
	FirstError    string
	FirstFailedAt time.Time
	DiedAt        time.Time
	// HoldsKey says that events of its ordering key wait until it is replayed
	// or discarded.
	HoldsKey bool
}

// Cursor is the dead letter's place in the order of DeadLetters.List.
func (d *DeadLetter) Cursor() Cursor { return Cursor{Due: d.DiedAt, ID: d.ID} }

// DeadFilter chooses dead letters: those to which every field applies that is
// not zero. The zero DeadFilter chooses all.
type DeadFilter struct {
	IDs       []ID
	Type      string
	Queue     string
	Stage     Stage
	Error     string        // is part of the error, in either case
	OlderThan time.Duration // died at least so long ago
	NewerThan time.Duration // died at most so long ago
	ErrorForm string        // is the error's form, as DeadGroup.ErrorForm
	Except    []ID          // are not these
	// Until leaves out what died later by the store's clock, so that work in
	// several steps does not meet what it has just replayed.
	Until time.Time
}

// Action is something that a person does to events. It is recorded together
// with its effect.
type Action struct {
	ID     ID // given by the store with the first effect
	Actor  string
	Reason string
	// Filter says in the command's own words what was asked for.
	Filter map[string]string
}

// DeadGroup is the dead letters of one type whose errors are the same, apart from
// the IDs and numbers in their text.
type DeadGroup struct {
	Type      string
	ErrorForm string // the error with # for each ID and number, cut
	Stage     Stage
	Count     int
	FirstDied time.Time
	LastDied  time.Time
}

// RecordedAction is one action of a person: a replay, a discard, a redrive.
type RecordedAction struct {
	At     time.Time
	Actor  string
	Kind   string // replay, discard or redrive
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

// ReplayOutcomes counts what became of replayed events so far.
type ReplayOutcomes struct{ Confirmed, Dead, Open int }

// DeadLetters are the events that were given up, at either end. Its methods are
// safe for concurrent use, by any number of people: a dead letter is moved once.
//
// Errors: CodeUnavailable if the database cannot be reached.
type DeadLetters interface {
	// List returns up to limit dead letters, those that died first at the
	// beginning, from the first one behind after.
	List(ctx context.Context, filter DeadFilter, after Cursor, limit int) ([]DeadLetter, error)

	// Groups returns the largest groups of the limit dead letters that died
	// last, and whether there are more dead letters than those.
	Groups(ctx context.Context, limit int) (groups []DeadGroup, more bool, err error)

	// Actions returns what people did, the latest first.
	Actions(ctx context.Context, limit int) ([]RecordedAction, error)

	// Count returns how many dead letters there are, up to limit, and the store's
	// time. Without a limit, which is 0, it counts all.
	Count(ctx context.Context, filter DeadFilter, limit int) (int64, time.Time, error)

	// Replay puts up to limit dead letters back into the outbox, due now, under
	// a new generation and with no attempt charged. Dead letters that somebody
	// else is working on are passed over. No event, and no error, means that
	// there are none left. A *ReplayRefused names one that the outbox refuses;
	// nothing was replayed then, and the next call should except it.
	Replay(ctx context.Context, action *Action, filter DeadFilter, limit int) ([]Replayed, error)

	// Discard gives up to limit dead letters up for good, and returns how many.
	Discard(ctx context.Context, action *Action, filter DeadFilter, limit int) (int, error)

	// Outcomes looks at what became of replayed events. Those of the types in
	// unconfirmed, which no consumer confirms, count as confirmed when the queue
	// has them.
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
	BuriedBefore                // it was one already
	Superseded                  // it was replayed meanwhile; this task is an old one's
	ConfirmedOnce               // its effect was committed, whatever the handler said
	NotOnRecord                 // nothing is known of the event
)

// FailedTasks takes down what the worker could not do. Its methods are safe for
// concurrent use, by any number of processes.
//
// Errors: CodeUnavailable if the database cannot be reached.
type FailedTasks interface {
	// Failed enters a failed attempt into the journal.
	Failed(ctx context.Context, task FailedTask) error

	// Bury moves an event to the dead letters, wherever it is. If it is kept
	// nowhere, it is written down from the task; with onRecord it is left.
	// Repeating it is harmless.
	Bury(ctx context.Context, task FailedTask, onRecord bool) (Burial, error)

	// Unburied returns which of the events are on record as handed to the queue,
	// or to be handed to it.
	Unburied(ctx context.Context, ids []ID) ([]ID, error)
}
