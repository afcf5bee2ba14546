package lives

import (
	"time"

	"outboxd/domain"
	"outboxd/domain/words"
)

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
	Next  domain.ID
	Since time.Time
	// Turn is the event for which the held events wait. Turn is nil while a transaction gives the turn to the next
	// event. It may be nil while a replay to the subscription goes on, because the turns are given at its end.
	Turn *Turn
}

// Turn is the event for which the held events of an ordering key wait.
type Turn struct {
	ID    domain.ID
	Since time.Time // when it got the turn, or when it was written if it waits in the outbox without the turn
	// State is StatePending, StateInFlight or StateDead, or StateGone if no table
	// has the event, for example because no history is kept. Confirmed says whether
	// it took effect.
	State State
	Type  string
	Queue string
	// At is when the event becomes due (pending), was handed to Redis (in flight) or died (dead). It is zero with
	// StateGone.
	At        time.Time
	Attempts  int // refusals so far
	Error     string
	Confirmed bool // it took effect, and its turn ends now
}

// Holds says in words why the held events wait for the event that has the turn. t may be nil: no event has the
// turn.
func (t *Turn) Holds(now time.Time) string {
	const layout = time.DateTime + " UTC"
	at := func(at time.Time) string { return at.UTC().Format(layout) }
	switch {
	case t == nil:
		return "the next one's turn is about to be given"
	case t.Confirmed:
		return "confirmed; the next one's turn is about to be given"
	case t.State == StateDead:
		return "dead letter since " + at(t.At) + ": " + t.Error
	case t.State == StateInFlight:
		return "in Redis since " + at(t.At) + ", not confirmed"
	case t.State == StateGone:
		return "in Redis, not confirmed"
	case t.Attempts > 0:
		return "refused " + words.Many(t.Attempts, "time") + ", due at " + at(t.At) + ": " + t.Error
	case t.At.After(now):
		return "delayed until " + at(t.At)
	default:
		return "on its way, due since " + at(t.At)
	}
}
