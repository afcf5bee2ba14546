package domain

import (
	"context"
	"slices"
	"strings"
	"time"

	"outboxd/domain/words"
)

// EventState is where an event is on its way. The names are the same in SQL, in
// commands and on pages.
type EventState string

// The states of an event.
const (
	StatePending  EventState = "pending"   // in the outbox
	StateHeld     EventState = "held"      // waits for its ordering key's turn
	StateInFlight EventState = "in flight" // handed to the queue and not confirmed
	// StateFailing is an event in flight whose task failed and waits to be tried
	// again. Only the queue knows; the database has the event as in flight.
	StateFailing   EventState = "failing"
	StateConfirmed EventState = "confirmed" // took effect
	StateDead      EventState = "dead"      // given up
	// StateSuppressed is a unique event whose place the task of another event
	// took.
	StateSuppressed EventState = "suppressed"
	StateCancelled  EventState = "cancelled" // cancelled before it took effect
	// StateGone is an event that is no longer kept. No search finds it.
	StateGone EventState = "gone"
)

// EventStates lists the states of an event that is kept, in the order of an event's way.
func EventStates() []EventState {
	return []EventState{StatePending, StateHeld, StateInFlight, StateFailing, StateConfirmed, StateDead, StateSuppressed, StateCancelled}
}

// EventFilter chooses the events that match every field that is not zero. The
// zero EventFilter chooses all events that are kept.
type EventFilter struct {
	ID          ID
	Type        string
	Queue       string
	OrderingKey string
	State       EventState
	// Since and Until bound the time in the event's ID, which is when it was
	// emitted. Since is included, Until is not. An ID that is not of version 7
	// has no time, but has a place in the order.
	Since, Until time.Time
	HeaderName   string
	HeaderValue  string // with HeaderName; "" is any
}

// EventSummary is an event in a list.
type EventSummary struct {
	ID          ID
	Type        string
	Queue       string
	OrderingKey string
	State       EventState
	CreatedAt   time.Time
	Since       time.Time // when it came into its state; for a pending event, when it is due
	// Attempts are those of the relay; failing: the task's attempts that failed.
	Attempts     int
	Generation   int
	Error        string // the last error; dead: the error that it died of; suppressed: which task took its place; cancelled: who cancelled it, and why
	PayloadBytes int
	WaitsFor     ID // held: the event that has the turn of its key; zero: none has
	// Failing is what the queue knows of a failing event; nil in every other state.
	Failing *FailingTask
}

// EventPage is one page of what a search found, newest first.
type EventPage struct {
	Events []EventSummary
	// Next is where the next page begins, for EventLives.Search; zero on the
	// last page.
	Next ID
	// GaveUp says that the search stopped early because it had taken too long.
	// It can continue from Next.
	GaveUp bool
	// Examined is a lower bound on the number of events that the search looked
	// at.
	Examined int
	// QueueFault says why the queue could not be asked; "": it was. Failing events
	// are then listed as in flight.
	QueueFault string
}

// EventLives reads what the database knows of single events. Its methods are
// safe for concurrent use.
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

	// InFlight returns those of the named events that the history has, that no
	// consumer has confirmed, and that match the filter's type, queue, key and
	// header. They have no order.
	//
	// Errors: as Search.
	InFlight(ctx context.Context, filter EventFilter, ids []ID) ([]EventSummary, error)
}

// ParseMoment reads a time as people write it. It may be how long ago it was
// (15m, 24h, 2d), RFC 3339, or a part of RFC 3339 in UTC: 2006-01-02 or
// 2006-01-02T15:04, with a space for the T, and with or without seconds. Its
// errors have CodeInvalid.
func ParseMoment(text string, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	if ago, err := words.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, Errorf(CodeInvalid, "%.40q is not a time: write how long ago, such as 15m or 24h, or a time such as 2006-01-02T15:04:05Z", text)
}

// ParseEventState returns the state with that name, or "" for "". "in flight"
// may be written with a hyphen. Its errors have CodeInvalid.
func ParseEventState(text string) (EventState, error) {
	if state := EventState(strings.ReplaceAll(text, "-", " ")); text == "" || slices.Contains(EventStates(), state) {
		return state, nil
	}
	return "", Errorf(CodeInvalid, "%.40q is not a state: the states are pending, held, in-flight, failing, confirmed, dead, suppressed and cancelled", text)
}
