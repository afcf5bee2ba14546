package domain

import "context"

// Acknowledgement says that an event took effect in a consumer's own database. Several outboxes may share one
// Redis, so the event may belong to another outbox.
type Acknowledgement struct {
	EventID     ID
	Type, Queue string // the event's
	Outbox      string // the mark of the outbox that the event's task came from; "": not known
}

// Acknowledgements reads the acknowledgements that consumers wrote to Redis.
type Acknowledgements interface {
	// Await returns up to 1,000 acknowledgements that came after the given position, the oldest first, and the position
	// of the last one. It waits a bounded time for the first; the end of ctx does not shorten that, but Close does. An
	// unknown position, such as "", means the beginning. "end" means the position after the newest acknowledgement. If
	// Await returns a lower position than the given one, Redis has lost or replaced the acknowledgements.
	//
	// Errors: CodeUnavailable.
	Await(ctx context.Context, after string) (list []Acknowledgement, next string, err error)

	// Close ends Await.
	Close() error
}

// AcknowledgedEvents confirms the events that consumers acknowledged.
//
// Errors: CodeUnavailable if the database cannot be reached.
type AcknowledgedEvents interface {
	// Position returns the position that the last Acknowledge stored, or "" if there was none.
	Position(ctx context.Context) (string, error)

	// Acknowledge confirms the events that this outbox still has. In the same transaction Acknowledge replaces the
	// stored position, which has to equal the parameter after, by the position that the parameter next gives. It
	// returns how many events it confirmed. The count leaves out events that were confirmed before, and events that may
	// not take effect now: another event of their ordering key has the turn, or they were moved to a later time.
	//
	// Acknowledge waits only briefly for other transactions, because one may stay open for hours. The result locked has
	// the acknowledgements of events that another transaction has locked. If there are any, the stored position stays,
	// and the caller has to give these acknowledgements to Acknowledge again.
	//
	// Errors: CodeConflict if the stored position is another one, or if the database may have gone back to an earlier
	// state and the leader has not noted it yet. Nothing is confirmed then.
	Acknowledge(ctx context.Context, list []Acknowledgement, after, next string) (confirmed int64, locked []Acknowledgement, err error)
}
