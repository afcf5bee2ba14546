package domain

import (
	"context"
	"time"
)

// ChangeAnswer is the answer to a request to cancel, reschedule or erase one event. The SQL functions cancel,
// reschedule and outbox_erase return the same words.
type ChangeAnswer string

// The answers: what was done, or why it is too late.
const (
	ChangeCancelled   ChangeAnswer = "cancelled" // it will not take effect
	ChangeRescheduled ChangeAnswer = "rescheduled"
	ChangeErased      ChangeAnswer = "erased" // its payload and headers are gone

	TooLateConfirmed  ChangeAnswer = "confirmed"  // it took effect
	TooLateRunning    ChangeAnswer = "running"    // its handler is working on it now
	TooLateBusy       ChangeAnswer = "busy"       // a relay or another transaction is moving it now
	TooLateInFlight   ChangeAnswer = "in flight"  // it was handed over, and nothing asks the inbox before its effect
	TooLateDead       ChangeAnswer = "dead"       // it was given up before
	TooLateSuppressed ChangeAnswer = "suppressed" // the task of another event takes its place
	TooLateUnknown    ChangeAnswer = "unknown"    // there is no such event, or it is no longer kept
)

// Explain returns the rest of a sentence whose subject is an event.
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

// Change is one event and the answer for it.
type Change struct {
	ID     ID
	Answer ChangeAnswer
}

// EventChanges changes events that have not taken effect. Each call is one transaction, which also records action,
// the person's command. Its methods are safe for concurrent use.
//
// Errors: CodeUnavailable if the database cannot be reached.
type EventChanges interface {
	// Cancel cancels events. An event with the answer ChangeCancelled never takes effect.
	Cancel(ctx context.Context, action *Action, ids []ID) ([]Change, error)

	// Reschedule moves events that have not taken effect to another time.
	Reschedule(ctx context.Context, action *Action, ids []ID, due time.Time) ([]Change, error)

	// Erase removes the payload and the headers of events from the database.
	// Events that have not taken effect are cancelled, and dead letters are
	// discarded.
	Erase(ctx context.Context, action *Action, ids []ID) ([]Change, error)

	// Tasks returns tasks of these events and of their deliveries that may still be in Redis, although the events
	// were cancelled, rescheduled or erased. Only ID, Queue and Generation are set. If the caller does not delete
	// the tasks, the leader does.
	Tasks(ctx context.Context, ids []ID) ([]Event, error)
}
