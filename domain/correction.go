package domain

import "context"

// Corrections emits corrected copies of events. It is safe for concurrent use.
type Corrections interface {
	// Correct emits a copy of an event with another payload, and returns the copy's ID. The
	// copy is a new event, due now, with the header HeaderCorrects; the journal of the old
	// event names the copy. If the parameter discard is true, the old event must be a dead
	// letter, and is discarded in the same transaction. Correct adds the copy's ID to the
	// filter of the recorded action.
	//
	// Errors: CodeNotFound if the event is not kept; CodeTooLarge if the payload is larger
	// than the outbox takes; CodeInvalid for a delivery, or a copy that the outbox refuses for
	// another reason; CodeConflict if there is no dead letter to discard; CodeUnavailable.
	Correct(ctx context.Context, action *Action, id ID, payload []byte, discard bool) (ID, error)
}
