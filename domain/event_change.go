package domain

import (
	"context"
	"time"
)

// ChangeAnswer is what became of the wish to cancel or reschedule one event. The
// words are those of the SQL functions.
type ChangeAnswer string

// The answers: what was wished for, or why it is too late.
const (
	ChangeCancelled   ChangeAnswer = "cancelled" // it will not take effect
	ChangeRescheduled ChangeAnswer = "rescheduled"
	ChangeErased      ChangeAnswer = "erased" // its payload and headers are gone

	TooLateConfirmed  ChangeAnswer = "confirmed"  // it took effect
	TooLateRunning    ChangeAnswer = "running"    // its handler is at it just now
	TooLateBusy       ChangeAnswer = "busy"       // a relay or another transaction is moving it just now
	TooLateInFlight   ChangeAnswer = "in flight"  // it was handed over, and whoever has it does not ask
	TooLateDead       ChangeAnswer = "dead"       // it was given up before
	TooLateSuppressed ChangeAnswer = "suppressed" // another event's task stands for it
	TooLateUnknown    ChangeAnswer = "unknown"    // there is no such event, or it is no longer kept
)

// Explain completes a sentence that begins with an event.
func (a ChangeAnswer) Explain() string {
	switch a {
	case ChangeCancelled:
		return "is cancelled"
	case ChangeRescheduled:
		return "is rescheduled"
	case ChangeErased:
		return "is erased"
	case TooLateConfirmed:
		return "took effect before"
	case TooLateRunning:
		return "is being handled just now; try again"
	case TooLateBusy:
		return "is being moved just now; try again"
	case TooLateInFlight:
		return "was handed over, and cannot be changed any more"
	case TooLateDead:
		return "is dead; outboxd dead discard gives it up for good"
	case TooLateSuppressed:
		return "is suppressed: the task of another event stands for it"
	case TooLateUnknown:
		return "is not known"
	default:
		return "is " + string(a)
	}
}

// Change is the answer for one event.
type Change struct {
	ID     ID
	Answer ChangeAnswer
}

// EventChanges changes what has not taken effect. Each call is one transaction,
// which also records it as a part of the action. Its methods are safe for
// concurrent use.
//
// Errors: CodeUnavailable if the database cannot be reached.
type EventChanges interface {
	// Cancel takes events back. One that is answered as cancelled never takes
	// effect.
	Cancel(ctx context.Context, action *Action, ids []ID) ([]Change, error)

	// Reschedule moves events that wait to another time.
	Reschedule(ctx context.Context, action *Action, ids []ID, due time.Time) ([]Change, error)

	// Erase removes the payload and the headers of events from the database. What
	// has not taken effect is cancelled, and what is dead discarded.
	Erase(ctx context.Context, action *Action, ids []ID) ([]Change, error)
}
