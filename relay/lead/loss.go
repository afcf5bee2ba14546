package lead

import (
	"context"
	"fmt"
	"time"

	"outboxd/domain"
	"outboxd/domain/lost"
)

// loss says what may be lost.
type loss struct {
	reason string // "": nothing is lost
	// back says that the database may have gone back to an earlier state, without its last commits.
	back bool
	// slots has the slots of a Redis Cluster whose data may be lost; nil: all data may be lost.
	slots *lost.Slots
}

// lossOf returns what Redis or the database may have lost. The parameter seen is the identity that Redis has now. If an
// earlier heal has not ended, its reason is the reason of this one too. Then all data may be lost, and if the database
// may have gone back, the earlier heal has recorded it.
func (h *healer) lossOf(seen lost.QueueIdentity, databaseChange string) loss {
	known := h.record.Identity
	switch change := seen.Change(known); {
	case databaseChange != "":
		return loss{reason: databaseChange, back: true}
	case h.record.IsHealing(seen):
		return loss{reason: h.record.Heal.Reason}
	case change != "" && h.record.Loss(seen) == "":
		return loss{reason: lost.CanaryBefore, back: true}
	default:
		l := loss{reason: change, back: seen.Older(known)}
		if slots, narrow := seen.LostSlots(known); narrow {
			l.slots = &slots
		}
		return l
	}
}

func (l loss) what() string {
	if lost.OfDatabase(l.reason) {
		return "PostgreSQL may have gone back to an earlier state"
	}
	return "the queue may have lost data"
}

func (l loss) consequence() string {
	if l.slots == nil {
		return "; every event that is not confirmed is sent again"
	}
	return fmt.Sprintf("; every event that is not confirmed and whose queue is in one of %d slots of the cluster is sent again", l.slots.Len())
}

const (
	// unconfirmedMost is how many losses in a row are not believed because IdentifyAnew does not confirm them. If Redis
	// takes no new connections, or answers differently over each, a needless heal is better than lost events.
	unconfirmedMost = 10
	// confirmEvery is the longest time between two checks while a loss is not confirmed. Checks may be an hour apart
	// (Healing.CheckInterval), and events that are really lost must not wait for ten of them.
	confirmEvery = 5 * time.Second
)

// confirm asks Redis once more, over a new connection, before a heal. A wrong answer over one connection, such as one
// that a proxy leads to another server, costs no heal then.
func (h *healer) confirm(ctx context.Context, seen lost.QueueIdentity) error {
	if h.unconfirmed == unconfirmedMost {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	again, err := h.o.Queue.IdentifyAnew(ctx, h.record.Name)
	if err == nil && again == seen {
		return nil
	}
	h.unconfirmed++
	if err == nil {
		err = domain.Errorf(domain.CodeUnavailable, "Redis seems to have lost data, but not over a new connection: look whether a proxy leads to several servers")
	}
	return queueError{err}
}

// soon fires when Redis has to be checked again because a loss is not confirmed, and never if there is no such loss.
func (h *healer) soon() <-chan time.Time {
	if h.unconfirmed == 0 {
		return nil
	}
	return time.After(min(h.o.CheckInterval, confirmEvery))
}
