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

// loss returns why Redis may have lost data since the leader's last check, as lost.QueueIdentity.Change says it; "" if
// there is no sign of a loss, or if it is not known.
func (l *Lookout) loss(ctx context.Context) (reason string) {
	if l.s.Identity == nil || l.s.Memory == nil || l.s.PostgresErr != nil {
		return ""
	}
	for look := range lossLooks {
		if look > 0 {
			select {
			case <-ctx.Done():
				return ""
			case <-time.After(lossPause):
			}
		}
		record, err := l.s.Memory.Recall(ctx)
		if err != nil || record.Identity.Canary == "" {
			return ""
		}
		seen, err := l.s.Identity.Identify(ctx, record.Name)
		if err != nil {
			return ""
		}
		if reason = seen.Change(record.Identity); reason == "" {
			return ""
		}
	}
	return reason
}
