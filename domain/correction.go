package domain

import "context"

// Correction is a corrected copy of an event.
type Correction struct {
	Of ID // the old event
	// As is the ID that the copy gets; zero: the database makes one. A person who sends a form twice emits one copy,
	// because the form has the copy's ID.
	As      ID
	Payload []byte
	// Discard says that the old event is a dead letter, and is discarded in the same transaction.
	Discard bool
}

// Corrections emits corrected copies of events. It is safe for concurrent use.
type Corrections interface {
	// Correct emits a copy of an event with another payload, and returns the copy's ID. The
	// copy is a new event, due now, with the header HeaderCorrects; the journal of the old
	// event names the copy. Correct adds the copy's ID to the filter of the recorded action. If
	// the old event's journal names Correction.As already, Correct does nothing and returns As.
	//
	// Errors: CodeNotFound if the event is not kept; CodeTooLarge if the payload is larger
	// than the outbox takes; CodeInvalid for a delivery, or a copy that the outbox refuses for
	// another reason; CodeConflict if there is no dead letter to discard, or if another event
	// has the ID As; CodeUnavailable.
	Correct(ctx context.Context, action *Action, c Correction) (ID, error)
}
