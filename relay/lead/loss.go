package lead

import (
	"fmt"

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

// lossOf returns what Redis, which has the identity seen now, or the database may have lost. If an
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
