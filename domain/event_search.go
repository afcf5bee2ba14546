package domain

import (
	"context"
	"time"
)

// EventState is what a person wants to know of an event. It is finer than its
// Place: what was handed to the queue is confirmed or not.
type EventState string

// The states of an event that is kept.
const (
	StatePending   EventState = "pending"
	StateHeld      EventState = "held"
	StateSent      EventState = "sent" // handed to the queue and not confirmed
	StateConfirmed EventState = "confirmed"
	StateDead      EventState = "dead"
)

// EventStates lists the states, in the order of an event's way.
func EventStates() []EventState {
	return []EventState{StatePending, StateHeld, StateSent, StateConfirmed, StateDead}
}

// EventFilter chooses events: those to which every field applies that is not
// zero. The zero EventFilter chooses all that are kept.
type EventFilter struct {
	ID          ID
	Type        string
	Queue       string
	OrderingKey string
	State       EventState
	// Since and Until bound when the event was emitted, by its ID: Since is
	// included, Until is not. IDs that are not of version 7 tell no time, and
	// have a place in the order all the same.
	Since, Until time.Time
	HeaderName   string
	HeaderValue  string // with HeaderName; "" is any
}

// EventSummary is an event in a list.
type EventSummary struct {
	ID           ID
	Type         string
	Queue        string
	OrderingKey  string
	State        EventState
	CreatedAt    time.Time
	Since        time.Time // when it came into its state; of a pending event when it is due
	Attempts     int
	Generation   int
	Error        string // the last one, of a dead letter the one that it died of
	PayloadBytes int
	WaitsFor     ID // of a held event: the one that has the turn of its key; zero: none has
}

// EventPage is a part of what a search found, newest first.
type EventPage struct {
	Events []EventSummary
	// Next is where the next page begins, for EventLives.Search; zero at the
	// end.
	Next ID
	// GaveUp says that the page is not full because looking further would have
	// taken too long. The search may go on from Next.
	GaveUp bool
	// Examined is at least how many events were looked at.
	Examined int
}

// EventLives is what the database knows of single events. Its methods are safe
// for concurrent use.
type EventLives interface {
	// Search returns up to limit events that were emitted before the one named,
	// or the newest if that is zero. It looks at a bounded number of events,
	// whatever the filter and however many there are.
	//
	// Errors: CodeUnavailable if the database cannot be reached or is too slow.
	Search(ctx context.Context, filter EventFilter, before ID, limit int) (EventPage, error)

	// Find returns the life of one event. Errors: CodeNotFound if the database
	// knows nothing of it, CodeUnavailable.
	Find(ctx context.Context, id ID) (*EventLife, error)
}
