package domain

import "time"

// EventLife is what the database knows of one event.
type EventLife struct {
	Event
	// State is StateGone for an event that only the journal knows.
	State  EventState
	SentAt time.Time // of what is in flight or confirmed, while it is in the history
	HeldAt time.Time // with StateHeld
	DiedAt time.Time // with StateDead, as Stage and Error
	Stage  Stage
	Error  string
	// SuppressedAt is when, and Holder by which task, with StateSuppressed.
	SuppressedAt time.Time
	Holder       string
	// Cancelled is who took the event back, and why, with StateCancelled.
	Cancelled   string
	ConfirmedAt time.Time // zero: not, or no longer known
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
	Entry      string    `json:"entry"` // refused, failed, died, replayed, discarded, redriven, cancelled, rescheduled or erased
	Generation int       `json:"generation"`
	Attempt    int       `json:"attempt,omitempty"`
	Detail     string    `json:"detail,omitempty"`
}
