package domain

import "time"

// EventLife is what the database knows of one event.
type EventLife struct {
	Event
	// State is StateGone for an event that only the journal knows.
	State  EventState
	SentAt time.Time // in flight or confirmed, while the history has it
	HeldAt time.Time // with StateHeld
	DiedAt time.Time // with StateDead, as Stage and Error
	Stage  Stage
	Error  string
	// SuppressedAt and Holder, with StateSuppressed: when, and which task took
	// its place.
	SuppressedAt time.Time
	Holder       string
	// Cancelled, with StateCancelled: who cancelled the event, and why.
	Cancelled   string
	ConfirmedAt time.Time // zero: not confirmed, or no longer known
	// TurnOf is the event that has the turn of the ordering key, or an earlier
	// event of the key that is not yet due; zero if there is none.
	TurnOf ID
	// HeldBehind is how many events of the key wait, counted up to 1,000.
	HeldBehind int
	Journal    []JournalEntry // oldest first
	// Deliveries are those to subscriptions, by name. A delivery has no
	// deliveries of its own; it has Origin and Subscription.
	Deliveries []EventDelivery
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
