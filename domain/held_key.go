package domain

import "time"

const (
	// HeldKeysCounted is the upper bound of the keys counted by one overview.
	HeldKeysCounted = 10_000
	// HeldEventsCounted is the upper bound of the waiting events counted for one key.
	HeldEventsCounted = 10_000
)

// HeldKey is an ordering key that holds events back.
type HeldKey struct {
	Key  string
	Held int // events that wait, counted up to HeldEventsCounted
	// Next is the event that is next in turn, and Since when it began to wait.
	Next  ID
	Since time.Time
	// Turn is what the others wait for; nil if the turn is just being given.
	Turn *Turn
}

// Turn is the event of an ordering key that is on its way, or dead, or not yet
// due.
type Turn struct {
	ID    ID
	Since time.Time // when it got the turn or, while it was never due, was written
	// State is StatePending, StateInFlight or StateDead, and StateGone if the event
	// is kept nowhere, as without a history. Confirmed says whether it took effect.
	State EventState
	Type  string
	Queue string
	// At is when the event is due, was handed to the queue, or died; zero with
	// StateGone.
	At        time.Time
	Attempts  int // refusals so far
	Error     string
	Confirmed bool // took effect; its turn is just ending
}
