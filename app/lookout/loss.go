package lookout

import (
	"context"
	"time"
)

const (
	// lossLooks is how often a difference must be seen before it counts. The leader renews the canary in the database
	// and in Redis one after the other, so a single look may fall in between.
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
	for look := range lossLooks {
		if look > 0 {
			select {
			case <-ctx.Done():
				return ""
			case <-time.After(lossPause):
			}
		}
		record, err := memory.Recall(ctx)
		if err != nil || record.Identity.Canary == "" {
			return ""
		}
		seen, err := identity.Identify(ctx, record.Name)
		if err != nil {
			return ""
		}
		if reason = seen.Change(record.Identity); reason == "" {
			return ""
		}
	}
	return reason
}
