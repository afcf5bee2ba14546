package domain

import (
	"bytes"
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"
)

// DefaultQueue is the Asynq queue of an event that names none.
const DefaultQueue = "default"

// Event is one row of the outbox: a task to be handed to Asynq because the
// transaction that wrote it committed.
type Event struct {
	ID        ID
	Type      string // the Asynq task type, such as "email:send_notification"
	Payload   []byte // reaches the handler byte for byte
	Headers   map[string]string
	Queue     string
	Options   TaskOptions
	Available time.Time // not to be relayed before
	Attempts  int       // refusals so far; an outage is none
	// Generation counts replays. From 1 on it is part of the task ID: Redis
	// would take a replay for a finished or archived task with the same ID.
	Generation int
	LastError  string
	CreatedAt  time.Time
	// OrderingKey, if it is not empty, makes the events of one key take effect
	// one after another, in the order of Position, which the store assigns.
	OrderingKey string
	Position    int64
	// Origin and Subscription are set for a delivery only: the event that it
	// delivers, and the name of the subscription.
	Origin       ID
	Subscription string
	// Split is whether the event's deliveries were made.
	Split Split
	// Outbox is the mark of the outbox that the event was claimed from. Its task carries
	// the mark, and acknowledgements return it.
	Outbox string
}

// Split says whether the deliveries of an event were made.
type Split string

// The values of Split. The zero Split means that no relay has claimed the event
// yet.
const (
	SplitDone    Split = "done"
	SplitInstead Split = "instead" // deliveries were made, and the event has no task of its own
)

// HeaderOrigin and HeaderQueue are headers of a delivery's task: the ID of the event, and its own
// queue.
const (
	HeaderOrigin = "outboxd-event-id"
	HeaderQueue  = "outboxd-queue"
)

// TaskOptions are Asynq's options of one task. A nil or zero option means
// Asynq's default.
type TaskOptions struct {
	MaxRetry  *int
	Timeout   time.Duration // whole seconds
	Deadline  time.Time
	Retention time.Duration // whole seconds
	Unique    time.Duration // whole seconds
}

// TaskID is the ID under which Redis knows the event. It is the same for every
// attempt, so Redis recognises a repeat and ignores it.
func (e *Event) TaskID() string {
	if e.Generation == 0 {
		return e.ID.String()
	}
	return e.ID.String() + "." + strconv.Itoa(e.Generation)
}

// EventID returns the event that a task ID belongs to. Its errors have
// CodeInvalid.
func EventID(taskID string) (ID, error) {
	id, _, err := ParseTaskID(taskID)
	return id, err
}

// ParseTaskID is the inverse of Event.TaskID. Its errors have CodeInvalid.
func ParseTaskID(taskID string) (ID, int, error) {
	text, suffix, replayed := strings.Cut(taskID, ".")
	generation := 0
	if replayed {
		n, err := strconv.Atoi(suffix)
		if err != nil || n < 1 || strconv.Itoa(n) != suffix {
			return ID{}, 0, Errorf(CodeInvalid, "%.60q is not the task ID of an event", taskID)
		}
		generation = n
	}
	id, err := ParseID(text)
	return id, generation, err
}

// EventStore hands out due events and stores what became of them. Its methods
// are safe for concurrent use, by any number of processes.
type EventStore interface {
	// Claim takes up to limit due events after a place, oldest due first. They stay
	// claimed until the batch is committed or released, or its connection ends. It
	// skips events that another claim holds, and those of the queues in except.
	// Events that come before their turn are moved to the held ones and are not in
	// the batch. A batch without events needs neither Commit nor Release.
	//
	// Errors: CodeUnavailable if the database cannot be reached.
	Claim(ctx context.Context, from Cursor, limit int, except ...string) (Batch, error)

	// NextDue returns the time until the next event is due, by the store's
	// clock; false if there is none. It is negative for an event that has just
	// become due and may have missed the last claim, and, with overdue, for one that
	// has been due for longer.
	//
	// Errors: CodeUnavailable if the database cannot be reached.
	NextDue(ctx context.Context, overdue bool) (time.Duration, bool, error)
}

// Cursor is a place in the order in which events become due. The zero Cursor is
// the beginning.
type Cursor struct {
	Due time.Time
	ID  ID
}

// Compare returns -1, 0 or 1 as c comes before d, is d, or comes after it.
func (c Cursor) Compare(d Cursor) int {
	return cmp.Or(c.Due.Compare(d.Due), bytes.Compare(c.ID[:], d.ID[:]))
}

// String returns c as ParseCursor reads it, and "" for the zero Cursor.
func (c Cursor) String() string {
	if c.Due.IsZero() && c.ID.IsZero() {
		return ""
	}
	return c.Due.UTC().Format(time.RFC3339Nano) + "/" + c.ID.String()
}

// ParseCursor is the inverse of Cursor.String. Its errors have CodeInvalid.
func ParseCursor(text string) (Cursor, error) {
	if text == "" {
		return Cursor{}, nil
	}
	at, id, _ := strings.Cut(text, "/")
	due, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return Cursor{}, Errorf(CodeInvalid, "%.60q is not a place that a page before named", text)
	}
	parsed, err := ParseID(id)
	return Cursor{Due: due, ID: parsed}, err
}

// Cursor returns the event's place in the order in which events become due.
func (e *Event) Cursor() Cursor { return Cursor{Due: e.Available, ID: e.ID} }

// Batch is a set of claimed events. It holds a database connection until it
// ends. Its methods are not safe for concurrent use.
type Batch interface {
	// Events are the claimed events, oldest due first.
	Events() []Event

	// Full reports whether a limit ended the claim, so that more events may be
	// due. The answer does not change.
	Full() bool

	// Advanced reports whether the commit released other events: deliveries, or the next ones
	// of ordering keys. They are due now.
	Advanced() bool

	// Held returns how many events the claim took and left out of the batch:
	// events that are held now, and events that have only deliveries.
	Held() int

	// Deliveries returns how many deliveries the claim made, and the place of
	// the first. They are due when the claim has ended.
	Deliveries() (int, Cursor)

	// Reached is the place of the last event that the claim took, in the batch
	// or not; the zero Cursor if it took none.
	Reached() Cursor

	// Now is the time of the claim by the store's clock, which is also the
	// clock by which events get due.
	Now() time.Time

	// Commit settles the events that were not delivered, and ends the claim.
	// outcomes has one outcome for each event, in their order. On an error
	// nothing is changed. The claim itself has moved the delivered events.
	//
	// Errors: CodeUnavailable if the database cannot be reached.
	Commit(ctx context.Context, outcomes []Outcome) error

	// Release ends the claim and leaves every event as it was. It may follow a
	// failed Commit.
	Release() error
}

// Verdict says what became of one event in one attempt.
type Verdict int

// The verdicts. The zero Verdict is for an attempt that an outage cut short:
// the event does not change and is due at once.
const (
	Untried    Verdict = iota
	Delivered          // Redis has the task
	Refused            // try again after Outcome.Delay; counts as an attempt
	Dead               // can never succeed, or has used its attempts
	Suppressed         // the event is unique, and the task of another event takes its place
)

// Outcome is a verdict and its details.
type Outcome struct {
	Verdict Verdict
	Err     error         // with Refused and Dead
	Delay   time.Duration // with Refused: how long to wait before the next attempt
	Holder  string        // with Suppressed: the ID of the task that takes its place
}

// QueueLengths measures queues. It is safe for concurrent use.
type QueueLengths interface {
	// Lengths returns how many unfinished tasks each of the queues has. It
	// leaves out a queue that cannot be used while others can. Errors:
	// CodeUnavailable.
	Lengths(ctx context.Context, queues []string) (map[string]int64, error)
}

// Publisher hands events to the queue.
type Publisher interface {
	// Publish enqueues events and returns one receipt for each, in their order.
	// It is safe for concurrent use. It returns when every event has an answer,
	// or ctx ends. If only some queues cannot be used, the failure of each of
	// their events is a *QueueOutage.
	Publish(ctx context.Context, events []Event) []Receipt

	// Ping reports whether the queue takes writes. Errors: CodeUnavailable.
	Ping(ctx context.Context) error

	// PingQueue reports whether one queue can be used, as far as outboxd can tell
	// without enqueueing a task. Errors: CodeUnavailable.
	PingQueue(ctx context.Context, queue string) error
}
