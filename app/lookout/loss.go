package lookout

import (
	"context"
	"time"

	"outboxd/domain/lost"
)

const (
	// lossLooks is how often a difference between PostgreSQL and Redis must be seen before it counts. The leader may
	// renew the canary, or a person may resume a queue, between the two questions of one look.
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
	lasting := lasts(ctx, func() bool {
		record, err := memory.Recall(ctx)
		if err != nil || record.Identity.Canary == "" {
			return false
		}
		seen, err := identity.Identify(ctx, record.Name)
		if err != nil {
			return false
		}
		known := record.Identity
		if seen.Canary != "" && record.Unchanged <= lost.CheckPatience {
			known.Canary = seen.Canary
		}
		reason = seen.Change(known)
		return reason != ""
	})
	if !lasting {
		return ""
	}
	return reason
}

// lasts reports whether differs returns true lossLooks times, one after another. If ctx ends before, lasts returns false.
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
