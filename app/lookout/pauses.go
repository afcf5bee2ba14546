package lookout

import (
	"context"
	"maps"
	"slices"

	"outboxd/domain/diagnosis"
)

// lostPauses returns the pauses that are on record and that Redis does not have, in the order of the queues' names.
// While a server does not answer, no pause counts as lost.
func (l *Lookout) lostPauses(ctx context.Context) (lost []diagnosis.LostPause) {
	if l.s.Recorded == nil || l.s.Queues == nil || l.s.PostgresErr != nil {
		return nil
	}
	lasting := lasts(ctx, func() bool {
		lost = nil
		// Read the record first: in the other order, a queue that is paused between the two readings would count as a
		// queue whose pause was lost.
		recorded, err := l.s.Recorded(ctx)
		if err != nil || len(recorded) == 0 {
			return false
		}
		names := slices.Sorted(maps.Keys(recorded))
		paused, err := l.s.Queues.Paused(ctx, names)
		if err != nil {
			return false
		}
		for _, name := range names {
			if !slices.Contains(paused, name) {
				lost = append(lost, diagnosis.LostPause{Queue: name, Pause: recorded[name]})
			}
		}
		return len(lost) > 0
	})
	if !lasting {
		return nil
	}
	return lost
}
