package lookout

import (
	"context"
	"time"

	"outboxd/domain/lost"
)

const (
	// lossLooks is how many looks in a row must see a difference between PostgreSQL and Redis before it counts. A person may resume
	// a queue, or a slot of a Redis Cluster may move, between the questions of one look.
	lossLooks = 3
	lossPause = 50 * time.Millisecond
)

func (l *Lookout) loss(ctx context.Context) string {
	if l.s.Identity == nil || l.s.Memory == nil || l.s.PostgresErr != nil {
		return ""
	}
	return Loss(ctx, l.s.Memory, l.s.Identity)
}

// Loss returns why Redis may have lost data since the leader's last check, as lost.QueueIdentity.Change says it; "" if
// there is no sign of a loss, or if it is not known.
func Loss(ctx context.Context, memory Memory, identity Identity) (reason string) {
	var last lost.QueueIdentity
	lasting := lasts(ctx, func() bool {
		record, err := memory.Recall(ctx)
		if err != nil {
			return false
		}
		// The leader may replace the record between the two questions of a look. Then Redis's answer belongs to the new
		// record, which the next look reads here.
		if reason != "" && record.Identity != last {
			return false
		}
		last = record.Identity
		seen, err := identity.Identify(ctx, record.Name)
		if err != nil {
			return false
		}
		reason = record.Loss(seen)
		return reason != ""
	})
	if !lasting {
		return ""
	}
	return reason
}

// lasts reports whether the function differs returns true lossLooks times, one after another. If ctx ends before that,
// lasts returns false.
func lasts(ctx context.Context, differs func() bool) bool {
	for look := range lossLooks {
		if look > 0 {
			select {
			case <-ctx.Done():
				return false
			case <-time.After(lossPause):
			}
		}
		if !differs() {
			return false
		}
	}
	return true
}
