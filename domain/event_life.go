package domain

import "time"

// Place is where an event is: in one at a time.
type Place string

// The places of an event.
const (
	PlacePending Place = "pending" // in the outbox
	PlaceHeld    Place = "held"    // waits for its ordering key's turn
	PlaceSent    Place = "sent"    // handed to the queue
	PlaceDead    Place = "dead"
	// PlaceSuppressed is of a unique event for which another one's task stands.
	PlaceSuppressed Place = "suppressed"
	PlaceGone       Place = "gone" // no longer kept; the journal or the inbox knows it
)

// EventLife is what the database knows of one event.
type EventLife struct {
	Event
	Place  Place
	SentAt time.Time // with PlaceSent
	HeldAt time.Time // with PlaceHeld
	DiedAt time.Time // with PlaceDead, as Stage and Error
	Stage  Stage
	Error  string
	// SuppressedAt is when, and Holder by which task, with PlaceSuppressed.
	SuppressedAt time.Time
	Holder       string
	ConfirmedAt  time.Time // zero: not, or no longer known
	// TurnOf is the event that has the turn of the ordering key or, before any
	// has, an earlier one that is not yet due; zero if none.
	TurnOf ID
	// HeldBehind is how many events of the key wait, counted up to 1,000.
	HeldBehind int
	Journal    []JournalEntry // oldest first
}

// JournalEntry is something out of the ordinary that happened to an event.
type JournalEntry struct {
	At         time.Time `json:"at"`
	Stage      Stage     `json:"stage"`
	Entry      string    `json:"entry"` // refused, failed, died, replayed, discarded or redriven
	Generation int       `json:"generation"`
	Attempt    int       `json:"attempt,omitempty"`
	Detail     string    `json:"detail,omitempty"`
}
