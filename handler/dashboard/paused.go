package dashboard

import (
	"context"
	"time"

	"outboxd/domain"
	"outboxd/domain/access"
)

// pausedPatience is how long a page waits for Redis to say which queues are paused.
const pausedPatience = time.Second

// paused returns those of the queues that are paused, for an action that sends events again: their tasks wait there. If
// Redis cannot be asked, the result is nil, and the page says nothing about pauses.
func (d *Dashboard) paused(ctx context.Context, action string, queues []domain.QueueCount) []domain.QueueCount {
	if d.o.Sources.Pauses == nil || action != access.Replay && action != domain.ActionRetry {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pausedPatience)
	defer cancel()
	paused, err := d.o.Sources.Pauses.Among(ctx, queues)
	if err != nil {
		return nil
	}
	return paused
}
