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
	// Generation counts replays. From 1 on it is part of the task ID, because
	// a finished or archived task would swallow a second one with its ID.
	Generation int
	LastError  string
	CreatedAt  time.Time
	// OrderingKey, unless empty, makes events of one key take effect one after
	// another, by Position, which the store gives them.
	OrderingKey string
	Position    int64
	// Origin and Subscription are those of a delivery: the event that it
	// delivers, and the name of the subscription. Zero: it is an event.
	Origin       ID
	Subscription string
	// Split is whether the event's deliveries were made.
	Split Split
}

// Split is whether the deliveries of an event were made, where subscriptions
// want it.
type Split string

// The values of Split. The zero Split is of an event that no relay has met.
const (
	SplitDone    Split = "done"
	SplitInstead Split = "instead" // its deliveries carry it, and it has no task of its own
)

// HeaderOrigin and HeaderQueue are headers of a delivery's task: the ID of the event, and its own
// queue.
const (
	HeaderOrigin = "outboxd-event-id"
	HeaderQueue  = "outboxd-queue"
)

// TaskOptions are Asynq's options of one task. A nil or zero option is left to
// Asynq's default.
type TaskOptions struct {
	MaxRetry  *int
	Timeout   time.Duration // whole seconds
	Deadline  time.Time
	Retention time.Duration // whole seconds
	Unique    time.Duration // whole seconds
}

// TaskID is the ID under which Redis knows the event. It is the same for every
// attempt, so that a repeat meets itself and changes nothing.
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

// EventStore hands out due events and remembers what became of them.
// Its methods are safe for concurrent use, by any number of processes.
type EventStore interface {
	// Claim takes up to limit due events from a place on, oldest due first,
	// until the batch is committed or released, or its connection ends,
	// whichever is first. Events that another claim holds are passed over, and
	// so are those of the queues in except. Those whose ordering key is not
	// theirs yet are taken out of the way and are not in the batch. A batch without
	// events needs neither call.
	//
	// Errors: CodeUnavailable if the database cannot be reached.
	Claim(ctx context.Context, from Cursor, limit int, except ...string) (Batch, error)

	// NextDue returns how long it is, by the store's clock, until the next
	// event gets due; false if there is none. An event that got due only just
	// now, and may have missed the last claim, counts with what is then a
	// negative time.
	//
	// Errors: CodeUnavailable if the database cannot be reached.
	NextDue(ctx context.Context) (time.Duration, bool, error)
}

// Cursor is a place in the order in which events get due. The zero Cursor is
// its beginning.
type Cursor struct {
	Due time.Time
	ID  ID
}

// Compare returns -1, 0 or 1 as c comes before d, is d, or comes after it.
func (c Cursor) Compare(d Cursor) int {
	return cmp.Or(c.Due.Compare(d.Due), bytes.Compare(c.ID[:], d.ID[:]))
}

// String is c for ParseCursor, and "" for the zero Cursor.
func (c Cursor) String() string {
	if c.Due.IsZero() && c.ID.IsZero() {
		return ""
	}
	return c.Due.UTC().Format(time.RFC3339Nano) + "/" + c.ID.String()
}

// ParseCursor returns the Cursor of that String. Its errors have CodeInvalid.
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

// Cursor is the event's place in the order in which events get due.
func (e *Event) Cursor() Cursor { return Cursor{Due: e.Available, ID: e.ID} }

// Batch is a set of claimed events. It holds a database connection. Its
// methods are not safe for concurrent use.
type Batch interface {
	// Events are the claimed events, oldest due first.
	Events() []Event

	// Full reports whether a bound ended the claim, so that more may be due. It
	// does not change.
	Full() bool

	// Advanced reports whether the commit let other events go, deliveries or the next ones of
	// ordering keys, which are due then.
	Advanced() bool

	// Held returns how many events were taken out of the way: those that are
	// held, and those that only their deliveries carry.
	Held() int

	// Deliveries returns how many deliveries the claim made, and the place of
	// the first: they are due when the claim has ended.
	Deliveries() (int, Cursor)

	// Reached is the place of the last event that was taken, into the batch or
	// out of the way; the zero Cursor if none was.
	Reached() Cursor

	// Now is the time of the claim by the store's clock, which is also the
	// clock by which events get due.
	Now() time.Time

	// Commit settles what was not delivered, by the outcomes, one for each event
	// and in their order, and ends the claim: all of it or, on an error, nothing.
	// The claim has moved the delivered events.
	//
	// Errors: CodeUnavailable if the database cannot be reached.
	Commit(ctx context.Context, outcomes []Outcome) error

	// Release ends the claim and leaves every event as it was. It may follow a
	// failed Commit.
	Release() error
}

// Verdict says what became of one event in one attempt.
type Verdict int

// The verdicts. The zero Verdict changes nothing about its event, which is
// therefore due at once: for attempts that an outage cut short.
const (
	Untried    Verdict = iota
	Delivered          // Redis has the task
	Refused            // try again after Outcome.Delay, one attempt more
	Dead               // can never succeed, or has used its attempts
	Suppressed         // the task of another event stands for this unique one
)

// Outcome is a verdict and what goes with it.
type Outcome struct {
	Verdict Verdict
	Err     error         // with Refused and Dead
	Delay   time.Duration // with Refused: how long to wait before the next attempt
	Holder  string        // with Suppressed: the ID of the task that stands for the event's
}

// QueueLengths measures queues. It is safe for concurrent use.
type QueueLengths interface {
	// Lengths returns how many tasks each of the queues holds that have not
	// ended. A queue that cannot be used while others can is left out. Errors:
	// CodeUnavailable.
	Lengths(ctx context.Context, queues []string) (map[string]int64, error)
}

// Publisher hands events to the queue.
type Publisher interface {
	// Publish enqueues events and returns one receipt for each, in their order.
	// It is safe for concurrent use and returns when every event is decided, or
	// ctx ends. Where only some queues cannot be used, the failure of each
	// unanswered event is a *QueueOutage.
	Publish(ctx context.Context, events []Event) []Receipt

	// Ping reports whether the queue takes writes. Errors: CodeUnavailable.
	Ping(ctx context.Context) error

	// PingQueue reports whether one queue can be used, as far as that can be seen
	// without a task. Errors: CodeUnavailable.
	PingQueue(ctx context.Context, queue string) error
}
