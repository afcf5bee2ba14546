package domain

import "context"

// Acknowledgement says that an event took effect in a consumer's own database.
// Several outboxes may share a queue, so it may belong to another outbox.
type Acknowledgement struct {
	EventID     ID
	Type, Queue string // the event's
	Outbox      string // the mark of the outbox that its task came from; "": not known
}

// Acknowledgements reads what consumers acknowledged through the queue.
type Acknowledgements interface {
	// Await returns the acknowledgements that came after a position, the oldest
	// first, and the position of the last one. It waits a bounded time for the
	// first. An unknown position, such as "", is the beginning, and "end" is
	// after the last one so far. If next is before after, the queue has been replaced.
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
	// Position returns the position that the last Acknowledge remembered; "" at
	// first.
	Position(ctx context.Context) (string, error)

	// Acknowledge confirms the events that belong to this outbox, and remembers
	// the position next instead of after, in one transaction. It returns how many events it confirmed.
	// It does not count events that were confirmed before, or whose turn has not
	// come.
	//
	// Errors: CodeConflict if the position is not after, or if the database may have
	// gone back and the leader has not noted it yet. Nothing is confirmed then.
	Acknowledge(ctx context.Context, list []Acknowledgement, after, next string) (int64, error)
}
