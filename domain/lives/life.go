package lives

import (
	"time"

	"outboxd/domain"
)

// Life is everything that the database has about one event.
type Life struct {
	domain.Event
	// State is StateGone if only the journal still has the event.
	State  State
	SentAt time.Time // in flight or confirmed, while the history has it
	HeldAt time.Time // with StateHeld
	DiedAt time.Time // with StateDead, like Stage and Error
	Stage  domain.Stage
	Error  string
	// SuppressedAt and Holder are set with StateSuppressed. Holder is the ID of the task that held the unique lock.
	SuppressedAt time.Time
	Holder       string
	// Cancelled is set with StateCancelled: who cancelled the event, and why.
	Cancelled   string
	ConfirmedAt time.Time // zero: not confirmed, or no longer known
	// TurnOf is the event of the same ordering key that has the turn or, if none has it, an earlier event of the key
	// that is in the outbox. For a delivery it may also be an earlier event of its event's key whose deliveries are
	// not made yet. It is zero if there is no such event.
	TurnOf domain.ID
	// Replaying says that a replay to the subscription of this delivery is under way. Until the replay ends, no held
	// delivery of the subscription gets the turn.
	Replaying bool
	// HeldBehind is how many events of the ordering key are held, counted up to 1,000. If this event has the turn,
	// they wait for it. If this event is held, HeldBehind includes it and the earlier ones.
	HeldBehind int
	Journal    []JournalEntry // oldest first
	// Deliveries are the event's deliveries, in the order of their subscriptions' names. If the event is itself a
	// delivery, Deliveries is empty, and Origin and Subscription are set.
	Deliveries []Delivery
}

// EntryGivenUp is the journal's entry for a person who gave up a failing event. Its detail says who, and why.
const EntryGivenUp = "given up"

// JournalEntry records something unusual that happened to an event, such as a failed attempt.
type JournalEntry struct {
	At         time.Time    `json:"at"`
	Stage      domain.Stage `json:"stage"`
	Entry      string       `json:"entry"` // such as refused, failed, died, replayed or redriven; outbox_journal's CHECK has all
	Generation int          `json:"generation"`
	Attempt    int          `json:"attempt,omitempty"`
	Detail     string       `json:"detail,omitempty"`
	// SentAt is when the event had been handed over to Redis, if it left the history with this entry. Otherwise it is
	// nil.
	SentAt *time.Time `json:"sent_at,omitempty"`
}

// sentGeneration returns the generation of the task that was handed over at SentAt. A move to another time gives the
// event a new generation.
func (e *JournalEntry) sentGeneration() int {
	if e.Entry == "rescheduled" {
		return e.Generation - 1
	}
	return e.Generation
}
