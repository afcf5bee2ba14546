package figures

import (
	"context"
	"fmt"

	"outboxd/domain"
)

// Pauses pauses and resumes queues for people, and records it.
type Pauses struct {
	Queues  domain.QueuePauses
	Actions domain.ActionRecords
}

// Change pauses a queue, or resumes it, as kind says: domain.ActionPause or
// domain.ActionResume. It does so also if it cannot be recorded, and then returns that
// error. Errors: those of domain.QueuePauses; domain.CodeInvalid for the queue of a
// subscription, which is paused otherwise.
func (p *Pauses) Change(ctx context.Context, kind string, action *domain.Action, queue string) error {
	if name, delivery := domain.SubscriptionOfQueue(queue); delivery {
		return domain.Errorf(domain.CodeInvalid, "this queue has the deliveries to subscription %s: use outboxd subscriptions %s %s", name, kind, name)
	}
	do := p.Queues.Pause
	if kind == domain.ActionResume {
		do = p.Queues.Resume
	}
	if err := do(ctx, queue); err != nil {
		return err
	}
	action.Filter = map[string]string{"queue": queue}
	if err := p.Actions.Record(ctx, kind, action, 0); err != nil {
		return fmt.Errorf("the queue is %sd, but that could not be recorded: %w", kind, err)
	}
	return nil
}
