package domain

import (
	"bytes"
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"
)

// DefaultQueue is the Asynq queue of an event that names no queue.
const DefaultQueue = "default"

// Event is one row of the outbox. When the producer's transaction has committed and the event is due, a relay hands
// the event to Asynq as a task, or makes its deliveries, or both.
type Event struct {
	ID        ID
	Type      string // the Asynq task type, such as "email:send_notification"
	Payload   []byte // reaches the handler byte for byte
	Headers   map[string]string
	Queue     string
	Options   TaskOptions
	Available time.Time // not to be relayed before
	Attempts  int       // refusals so far; an outage does not count
	// Generation rises with each replay, and with some reschedules. If Generation is 1 or more, it is part of the
	// task ID. Without the generation, a replay would have the task ID of the finished or archived task, and Asynq
	// would not enqueue it.
	Generation int
	LastError  string
	CreatedAt  time.Time
	// OrderingKey groups events that take effect one after another, in the order of Position. "" means no order.
	// The database assigns Position.
	OrderingKey string
	Position    int64
	// Origin and Subscription are set only for a delivery. Origin is the event that it delivers, Subscription the
	// name of the subscription.
	Origin       ID
	Subscription string
	// Split says whether a relay has made the event's deliveries.
	Split Split
	// Outbox is the mark that identifies the outbox from which the event was claimed. The event's task carries the
	// mark, and an acknowledgement contains it.
	Outbox string
}

// Split says whether a relay has made the deliveries of an event.
type Split string

// The values of Split. The zero Split means that no relay has claimed the event
// yet.
const (
	SplitDone    Split = "done"
	SplitInstead Split = "instead" // deliveries were made, and the event has no task of its own
)

// These are headers of a delivery's task: the ID, the queue and the ordering key of the event that it delivers. If
// the event has no ordering key, the task has no HeaderKey.
const (
	HeaderOrigin = "outboxd-event-id"
	HeaderQueue  = "outboxd-queue"
	HeaderKey    = "outboxd-ordering-key"
)

// HeaderCorrects is a header of a corrected copy: the ID of the event that it corrects.
const HeaderCorrects = "outboxd-corrects"

// AsynqRetries is how often Asynq retries a task that does not say how often.
const AsynqRetries = 25

// TaskOptions are Asynq's options of one task. A nil or zero option means
// Asynq's default.
type TaskOptions struct {
	MaxRetry  *int
	Timeout   time.Duration // whole seconds
	Deadline  time.Time
	Retention time.Duration // whole seconds
	Unique    time.Duration // whole seconds
}

// TaskID is the ID of the event's task in Asynq. TaskID is the same for every attempt of one generation, so Asynq
// refuses a repeated task while it has the first one.
func (e *Event) TaskID() string {
	if e.Generation == 0 {
		return e.ID.String()
	}
	return e.ID.String() + "." + strconv.Itoa(e.Generation)
}

// EventID returns the ID of the event to which a task ID belongs. Its errors have CodeInvalid.
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

// SentEvent is an event that was handed to Redis and is not confirmed.
type SentEvent struct {
	Event  Event
	SentAt time.Time
}

// EventStore claims due events and stores the outcome of each. Its methods are safe for concurrent use, by any
// number of processes.
type EventStore interface {
	// Claim claims up to limit due events, oldest due first, beginning at the given cursor. The events stay claimed
	// until the batch is committed or released, or its connection ends. Claim skips events that another claim has
	// locked, and events of the queues that the parameter except lists. Claim moves a claimed event that does not have
	// the turn of its ordering key to outbox_held, and leaves it out of the batch. A row that makes the claim fail
	// becomes a dead letter. If even that fails, the row stays, and later claims pass it over and try it again from
	// time to time. A batch without events needs neither Commit nor Release.
	//
	// Errors: CodeUnavailable if the database cannot be reached.
	Claim(ctx context.Context, from Cursor, limit int, except ...string) (Batch, error)

	// NextDue returns the time until the next event is due, by the database's clock, and false if no event is due
	// within a day. The time is negative if an event is due already. An event that became due in the last half second
	// counts, because the last claim may have missed it. Events that have been due for longer count only if the
	// parameter overdue is true.
	//
	// Errors: CodeUnavailable if the database cannot be reached.
	NextDue(ctx context.Context, overdue bool) (time.Duration, bool, error)
}

// Cursor is a place in a list that is ordered by time and then by ID: of events by when they become due, of dead
// letters by when they died. The zero Cursor is the beginning.
type Cursor struct {
	Due time.Time
	ID  ID
}

// Compare returns -1 if c comes before d, 0 if they are equal, and 1 if c comes after d.
func (c Cursor) Compare(d Cursor) int {
	return cmp.Or(c.Due.Compare(d.Due), bytes.Compare(c.ID[:], d.ID[:]))
}

// String returns c in the form that ParseCursor reads, and "" for the zero Cursor.
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

// Batch is a set of claimed events. A Batch with events holds a database connection until it is committed or released.
// Its methods are not safe for concurrent use.
type Batch interface {
	// Events are the claimed events that are to be published, oldest due first. Held counts the
	// other claimed events.
	Events() []Event

	// Full reports whether a limit ended the claim, so that more events may be
	// due. The answer does not change.
	Full() bool

	// Advanced reports whether the commit made other events due: deliveries, or the next events of ordering keys.
	Advanced() bool

	// Held returns how many claimed events are not in the batch: events that are now held, and events that have
	// only deliveries.
	Held() int

	// Deliveries returns how many deliveries the claim made, and the cursor of the first. The deliveries are due
	// when the claim has ended.
	Deliveries() (int, Cursor)

	// Reached is the cursor of the last event that was claimed, whether it is in the batch or not. Reached is the
	// zero Cursor if no event was claimed.
	Reached() Cursor

	// Now is the time of the claim by the database's clock. The same clock decides when events are due.
	Now() time.Time

	// Commit settles the events that were not delivered, and ends the claim. The claim itself has already moved the
	// delivered events. The parameter outcomes has one outcome for each event, in the order of Events. After an error
	// nothing has changed, unless the connection was lost during the commit: then nobody knows whether it succeeded.
	//
	// Errors: CodeUnavailable if the database cannot be reached; ErrPassedOver.
	Commit(ctx context.Context, outcomes []Outcome) error

	// Release ends the claim and leaves every event as it was. It may follow a
	// failed Commit.
	Release() error
}

// ErrPassedOver means that no table takes some events of a batch that were not delivered. Later claims pass these events
// over, so that the other events of the batch can be claimed and settled.
var ErrPassedOver = Errorf(CodeConflict, "events can neither return to the outbox nor become dead letters")

// Verdict is the result of one attempt to publish one event.
type Verdict int

// The verdicts. The zero Verdict means that an outage ended the attempt: the event does not change and stays due.
const (
	Untried    Verdict = iota
	Delivered          // Redis has the task
	Refused            // try again after Outcome.Delay; counts as an attempt
	Dead               // can never succeed, or has used its attempts
	Suppressed         // the event is unique, and another task takes its place
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
	// Lengths returns how many unfinished tasks each of the queues has. If only some queues cannot be used, Lengths
	// leaves them out. Errors: CodeUnavailable.
	Lengths(ctx context.Context, queues []string) (map[string]int64, error)
}

// Publisher hands events to the queue.
type Publisher interface {
	// Publish enqueues events and returns one receipt for each, in the order of events. It is safe for concurrent
	// use. Publish returns when Redis has answered for every event or fails to answer, or ctx ends. If only some queues
	// cannot be used, the failure of each of their events is a *QueueOutage.
	Publish(ctx context.Context, events []Event) []Receipt

	// Ping reports whether Redis accepts writes. Errors: CodeUnavailable.
	Ping(ctx context.Context) error

	// PingQueue reports whether one queue can be used. PingQueue enqueues no task, so it cannot find every
	// obstacle. Errors: CodeUnavailable.
	PingQueue(ctx context.Context, queue string) error
}
