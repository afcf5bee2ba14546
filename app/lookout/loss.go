package lookout

import (
	"context"
	"time"

	"outboxd/domain/lost"
)

const (
	// lossLooks is how often a difference must be seen before it counts. The leader may renew the canary between the
	// two questions of one look.
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
// there is no sign of a loss, or if it is not known. The leader renews the canary in the database first, and then in
// Redis. So Loss overlooks another canary until that renewal must have ended. A missing canary counts without that
// delay.
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
		known := record.Identity
		if seen.Canary != "" && record.Unchanged <= lost.CheckPatience {
			known.Canary = seen.Canary
		}
		if reason = seen.Change(known); reason == "" {
			return ""
		}
	}
	return reason
}
