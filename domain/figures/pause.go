package figures

import (
	"context"
	"fmt"

	"outboxd/domain"
	"outboxd/domain/setup"
)

// Pauses carries out a person's command to pause or resume a queue, and records the
// command.
type Pauses struct {
	Queues  domain.QueuePauses
	Actions domain.ActionRecords
	// Recorded returns the pauses on record, as Store.Pauses.
	Recorded func(ctx context.Context) (map[string]setup.Pause, error)
}

// Change pauses a queue, or resumes it, as kind says: domain.ActionPause or
// domain.ActionResume. If the action cannot be recorded, Change pauses or resumes the
// queue all the same, and returns the error of the recording. Errors: those of
// domain.QueuePauses; domain.CodeInvalid for the queue of a subscription, because a
// subscription has its own way to be paused.
//
// If Redis lost the pause of a queue, or somebody resumed the queue without outboxd, the
// record still says that the queue is paused. Then Change pauses the queue even if Redis
// does not know the queue, and a resumption ends the pause in the record. If the record
// cannot be read, Change goes on as if the record had no pause.
func (p *Pauses) Change(ctx context.Context, kind string, action *domain.Action, queue string) error {
	if name, delivery := setup.SubscriptionOfQueue(queue); delivery {
		return domain.Errorf(domain.CodeInvalid, "this queue has the deliveries to subscription %s: use outboxd subscriptions %s %s", name, kind, name)
	}
	if err := p.change(ctx, kind, queue); err != nil {
		return err
	}
	action.Filter = map[string]string{"queue": queue}
	if err := p.Actions.Record(ctx, kind, action, 0); err != nil {
		return fmt.Errorf("the queue is %sd, but that could not be recorded: %w", kind, err)
	}
	return nil
}

// change asks Redis first, because only Redis is needed to pause or resume a queue.
func (p *Pauses) change(ctx context.Context, kind, queue string) error {
	if kind == domain.ActionResume {
		err := p.Queues.Resume(ctx, queue)
		if domain.ErrorCode(err) == domain.CodeConflict && p.isOnRecord(ctx, queue) {
			return nil
		}
		return err
	}
	err := p.Queues.Pause(ctx, queue, false)
	if domain.ErrorCode(err) == domain.CodeNotFound && p.isOnRecord(ctx, queue) {
		return p.Queues.Pause(ctx, queue, true)
	}
	return err
}

func (p *Pauses) isOnRecord(ctx context.Context, queue string) bool {
	recorded, err := p.Recorded(ctx)
	_, found := recorded[queue]
	return err == nil && found
}
