package domain

import "time"

const (
	// HeldKeysCounted is the upper bound of the keys counted by one overview.
	HeldKeysCounted = 10_000
	// HeldEventsCounted is the upper bound of the waiting events counted for one key.
	HeldEventsCounted = 10_000
)

// HeldKey is an ordering key with held events.
type HeldKey struct {
	Key  string
	Held int // events that wait, counted up to HeldEventsCounted
	// Next is the event that gets the turn next, and Since is when it began to
	// wait.
	Next  ID
	Since time.Time
	// Turn is the event for which the held events wait. Turn is nil while a transaction gives the turn to the next
	// event.
	Turn *Turn
}

// Turn is the event for which the held events of an ordering key wait. It is pending, in flight or dead.
type Turn struct {
	ID    ID
	Since time.Time // when it got the turn, or when it was written if it was never due
	// State is StatePending, StateInFlight or StateDead, or StateGone if no table
	// has the event, for example because no history is kept. Confirmed says whether
	// it took effect.
	State EventState
	Type  string
	Queue string
	// At is when the event becomes due (pending), was handed to Redis (in flight) or died (dead). It is zero with
	// StateGone.
	At        time.Time
	Attempts  int // refusals so far
	Error     string
	Confirmed bool // it took effect, and its turn ends now
}
