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
	// Turn is the event for which the held events wait. Turn is nil if there is no such event: the turn is about
	// to be given to the next event, or only a replay holds the key.
	Turn *Turn
	// Replaying names the subscription of the held deliveries while a replay to it is under way. Until the replay
	// ends, none of them gets the turn. "" if there is no such replay.
	Replaying string
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

// Holds says in words why the held events wait: for the event that has the turn, or for the end of a replay.
func (k *HeldKey) Holds(now time.Time) string {
	switch {
	case k.Turn != nil && !k.Turn.Confirmed:
		return k.Turn.holds(now)
	case k.Replaying != "":
		return "a replay to subscription " + k.Replaying + " is under way; the next one gets the turn when it ends"
	case k.Turn != nil:
		return "confirmed; the next one's turn is about to be given"
	default:
		return "the next one's turn is about to be given"
	}
}

// holds says why the held events wait for the event that has the turn and is not confirmed.
func (t *Turn) holds(now time.Time) string {
	const layout = time.DateTime + " UTC"
	at := func(at time.Time) string { return at.UTC().Format(layout) }
	switch {
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
