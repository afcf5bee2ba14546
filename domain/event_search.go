package domain

import (
	"context"
	"slices"
	"strings"
	"time"
)

// EventState is where an event is on its way. The names are the same in SQL, in
// commands and on pages.
type EventState string

// The states of an event.
const (
	StatePending   EventState = "pending"   // in the outbox
	StateHeld      EventState = "held"      // waits for its ordering key's turn
	StateInFlight  EventState = "in flight" // handed to the queue and not confirmed
	StateConfirmed EventState = "confirmed" // took effect
	StateDead      EventState = "dead"      // given up
	// StateSuppressed is of a unique event for which another one's task stands.
	StateSuppressed EventState = "suppressed"
	StateCancelled  EventState = "cancelled" // taken back before it took effect
	// StateGone is of an event that is no longer kept. No search finds it.
	StateGone EventState = "gone"
)

// EventStates lists the states of an event that is kept, in the order of an event's way.
func EventStates() []EventState {
	return []EventState{StatePending, StateHeld, StateInFlight, StateConfirmed, StateDead, StateSuppressed, StateCancelled}
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
	Error        string // the last one, of a dead letter the one that it died of, of a suppressed event whose task stands for it, of a cancelled one who took it back and why
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

// ParseMoment reads a time as people write it: how long ago it was (15m, 24h),
// or RFC 3339, or a part of that in UTC: 2006-01-02 or 2006-01-02T15:04, the T
// may be a space and seconds may follow. Its errors have CodeInvalid.
func ParseMoment(text string, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, Errorf(CodeInvalid, "%.40q is not a time: write how long ago, such as 15m or 24h, or a time such as 2006-01-02T15:04:05Z", text)
}

// ParseEventState returns the state of that name, or "" for "". In flight may be
// written with a hyphen. Its errors have
// CodeInvalid.
func ParseEventState(text string) (EventState, error) {
	if state := EventState(strings.ReplaceAll(text, "-", " ")); text == "" || slices.Contains(EventStates(), state) {
		return state, nil
	}
	return "", Errorf(CodeInvalid, "%.40q is not a state: the states are pending, held, in-flight, confirmed, dead, suppressed and cancelled", text)
}
