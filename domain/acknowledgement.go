package domain

import "context"

// Acknowledgement says that an event took effect in the database of a consumer
// that does not share the outbox's. It may be of an event of somebody else's who
// uses the same queue.
type Acknowledgement struct {
	EventID     ID
	Type, Queue string // the event's
}

// Acknowledgements are on their way back through the queue.
type Acknowledgements interface {
	// Await returns what has come behind a position, the oldest first, and the
	// position behind it. It waits for some, but not for ever. An unknown
	// position, such as "", is the beginning. next may be before after: the queue
	// is another one then.
	//
	// Errors: CodeUnavailable.
	Await(ctx context.Context, after string) (list []Acknowledgement, next string, err error)

	// Close ends Await.
	Close() error
}

// AcknowledgedEvents confirms events that were acknowledged.
//
// Errors: CodeUnavailable if the database cannot be reached.
type AcknowledgedEvents interface {
	// Position is where the last Acknowledge got to; "" at first.
	Position(ctx context.Context) (string, error)

	// Acknowledge confirms what is of an event of this outbox, and remembers the
	// position, in one transaction. It returns how many events it confirmed: not
	// those that were confirmed before, nor those whose turn it is not.
	Acknowledge(ctx context.Context, list []Acknowledgement, position string) (int64, error)
}
