package figures

import (
	"context"
	"fmt"
	"slices"

	"outboxd/domain"
	"outboxd/domain/overview"
	"outboxd/domain/setup"
)

// Pauses carries out a person's command to pause or resume a queue, and records the
// command.
type Pauses struct {
	Queues  domain.QueuePauses
	Actions domain.ActionRecords
	// OnRecord returns the queue's pause according to the record; nil if it is not paused.
	OnRecord func(ctx context.Context, queue string) (*setup.Pause, error)
	// Receivers returns the subscriptions whose deliveries wait; nil: none.
	Receivers func(ctx context.Context) ([]overview.ReceiverStatus, error)
}

// Change pauses a queue, or resumes it, as the parameter kind says: domain.ActionPause or
// domain.ActionResume. If the action cannot be recorded, Change still pauses or resumes
// the queue, and returns the error of the recording. Errors: those of domain.QueuePauses;
// domain.CodeInvalid for the queue of a subscription, because a subscription has its own
// way to be paused.
//
// Redis and the record may differ: Redis may have lost a pause, a change may not have been
// recorded, or somebody may have made it without outboxd. Then Change returns no
// CodeConflict, and brings the record up to date. If the record says that a queue is
// paused, Change pauses it even if Redis does not know the queue. A pause without a reason
// then keeps the reason on record. If the record cannot be read, Change goes on as if the
// record agreed with Redis.
func (p *Pauses) Change(ctx context.Context, kind string, action *domain.Action, queue string) error {
	if name, delivery := setup.SubscriptionOfQueue(queue); delivery {
		return domain.Errorf(domain.CodeInvalid, "this queue has the deliveries to subscription %s: use outboxd subscriptions %s %s", name, kind, name)
	}
	if err := p.change(ctx, kind, queue); err != nil {
		return err
	}
	action.Filter = map[string]string{"queue": queue}
	if kind == domain.ActionPause && action.Reason == "" {
		if lost, err := p.OnRecord(ctx, queue); err == nil && lost != nil {
			action.Reason = again(lost)
		}
	}
	if err := p.Actions.Record(ctx, kind, action, 0, nil); err != nil {
		return fmt.Errorf("the queue is %[1]sd, but that could not be recorded; %[1]s it again when PostgreSQL can be reached: %[2]w", kind, err)
	}
	return nil
}

// Among returns those of the queues that are paused now, or whose subscription is paused. Tasks wait in these queues.
// If the database does not answer, Among leaves out the paused subscriptions. Errors: those of domain.QueuePauses.
func (p *Pauses) Among(ctx context.Context, queues []domain.QueueCount) (paused []domain.QueueCount, err error) {
	if len(queues) == 0 {
		return nil, nil
	}
	names := make([]string, len(queues))
	for i, q := range queues {
		names[i] = q.Queue
	}
	waiting, err := p.Queues.Paused(ctx, names)
	if err != nil {
		return nil, err
	}
	if p.Receivers != nil {
		receivers, _ := p.Receivers(ctx)
		for _, r := range receivers {
			if r.Paused {
				waiting = append(waiting, setup.SubscriptionQueuePrefix+r.Subscription)
			}
		}
	}
	for _, q := range queues {
		if slices.Contains(waiting, q.Queue) {
			paused = append(paused, q)
		}
	}
	return paused, nil
}

// change asks Redis first, because only Redis is needed to pause or resume a queue.
func (p *Pauses) change(ctx context.Context, kind, queue string) (err error) {
	pauses := kind == domain.ActionPause
	if pauses {
		err = p.Queues.Pause(ctx, queue, false)
	} else {
		err = p.Queues.Resume(ctx, queue)
	}
	code := domain.ErrorCode(err)
	if code != domain.CodeConflict && code != domain.CodeNotFound {
		return err
	}
	onRecord, unread := p.OnRecord(ctx, queue)
	switch {
	case unread != nil:
		return err
	case code == domain.CodeConflict && (onRecord != nil) != pauses:
		return nil
	case code == domain.CodeNotFound && pauses && onRecord != nil:
		return p.Queues.Pause(ctx, queue, true)
	default:
		return err
	}
}

// again is the reason of a pause that renews a lost one.
func again(lost *setup.Pause) string {
	reason := "the pause of " + lost.By + " again"
	if lost.Reason != "" {
		reason += ": " + lost.Reason
	}
	return reason
}
