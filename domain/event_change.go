package domain

import (
	"context"
	"time"
)

// ChangeAnswer is the answer to a request to cancel, reschedule or erase one event. The SQL functions cancel,
// reschedule and outbox_erase return the same words. For a request that has to wait for the leader, cancel and
// reschedule return 'requested' instead; see ChangeRequests.
type ChangeAnswer string

// The answers: what was done, or why it is too late.
const (
	ChangeCancelled   ChangeAnswer = "cancelled" // it will not take effect
	ChangeRescheduled ChangeAnswer = "rescheduled"
	ChangeErased      ChangeAnswer = "erased" // its payload and headers are gone

	TooLateConfirmed  ChangeAnswer = "confirmed"  // it took effect
	TooLateRunning    ChangeAnswer = "running"    // its handler is working on it now
	TooLateBusy       ChangeAnswer = "busy"       // a relay or another transaction is moving it now
	TooLateInFlight   ChangeAnswer = "in flight"  // it was handed over, and nothing asks the inbox before its effect, or the queue cannot be asked
	TooLateDead       ChangeAnswer = "dead"       // it was given up before
	TooLateSuppressed ChangeAnswer = "suppressed" // the task of another event takes its place
	TooLateUnknown    ChangeAnswer = "unknown"    // there is no such event, or it is no longer kept

	// ChangeRefused is the answer if the outbox does not accept the event any more, for example because its payload
	// is larger than a limit that was set later. The event stays as it is.
	ChangeRefused ChangeAnswer = "refused"

	// TooLateSuperseded is the answer to a producer's request that had to wait for the leader, if the event was
	// moved to another time after the request.
	TooLateSuperseded ChangeAnswer = "superseded"
)

// Explain returns the answer in words, as the rest of a sentence that begins with the event.
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
		return "was handed over, and cannot be changed any more, or not while Redis cannot be asked"
	case TooLateDead:
		return "is dead; outboxd dead discard gives it up for good"
	case TooLateSuppressed:
		return "is suppressed: the task of another event stands for it"
	case TooLateUnknown:
		return "is not known"
	case ChangeRefused:
		return "cannot be moved: the outbox does not accept it any more, for example because a smaller limit of payloads was set"
	case TooLateSuperseded:
		return "was moved after this request"
	default:
		return "is " + string(a)
	}
}

// Done reports whether the event was changed as asked.
func (a ChangeAnswer) Done() bool {
	return a == ChangeCancelled || a == ChangeRescheduled || a == ChangeErased
}

// Change is the result for one event of a request to cancel, reschedule or erase: the event's ID and the answer.
type Change struct {
	ID     ID
	Answer ChangeAnswer
}

// RunningTasks tells which tasks may be running. It is safe for concurrent use.
type RunningTasks interface {
	// Running reports for each event whether a worker may be working on a task of it: of
	// its generation, or of one of the twenty generations before. Running reads only the
	// ID, queue and generation of each event. If Running cannot tell, the answer is true.
	//
	// Errors: CodeUnavailable.
	Running(ctx context.Context, events []Event) ([]bool, error)
}

// ChangeRequests are changes that producers asked for, in transactions that could not
// ask the queue whether a task runs.
type ChangeRequests interface {
	// CarryOut carries out up to limit requests, of events with IDs after the given one and in the order of the IDs, in
	// one transaction. If the parameter ask is false, or if the queue cannot be asked, CarryOut ends only the requests
	// that do not need the queue.
	//
	// Errors: CodeUnavailable if the database cannot be reached.
	CarryOut(ctx context.Context, after ID, limit int, ask bool) (CarriedOut, error)
}

// CarriedOut is what became of some requests.
type CarriedOut struct {
	// Changes has the answer for each request. A request whose answer is TooLateRunning, TooLateBusy or TooLateInFlight
	// may still be open.
	Changes []Change
	Last    ID    // the event of the last request; zero at the end of the requests
	Queue   error // why the queue could not be asked
}

// EventChanges cancels, reschedules and erases events. Each change is one transaction, which also records action, the
// person's command. An action may have several calls; End follows the last one. Some handlers hold no transaction while
// they wait for a receiver. Before a change commits, it asks the queue about the events of such handlers. The methods
// of EventChanges are safe for concurrent use.
//
// Errors: CodeUnavailable if the database cannot be reached.
type EventChanges interface {
	ActionEnds

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
