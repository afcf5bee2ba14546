package changes

import (
	"context"
	"time"

	"outboxd/domain"
	"outboxd/domain/access"
)

// pausedPatience is how long a page waits for Redis to say which queues are paused.
const pausedPatience = time.Second

// Paused returns those of the queues that are paused, if the action is a replay or a retry: its tasks wait in a paused
// queue. For other actions, and if Redis cannot be asked, the result is nil, and the page says nothing about pauses.
func (p *Pages) Paused(ctx context.Context, action string, queues []domain.QueueCount) []domain.QueueCount {
	if p.Pauses == nil || action != access.Replay && action != domain.ActionRetry {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pausedPatience)
	defer cancel()
	paused, err := p.Pauses.Among(ctx, queues)
	if err != nil {
		return nil
	}
	return paused
}
