package deliver

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"time"

	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/jobs/work"
)

// retryBase is the longest wait before the second attempt, if the receiver asks for no longer one.
// It doubles with each attempt, up to the subscription's maximum.
const retryBase = 2 * time.Second

// goneAgain is how long a delivery waits after its receiver answered 410 (Gone). The
// subscription is then paused. movedAgain is the wait if the subscription has another URL
// by now.
const (
	goneAgain  = time.Minute
	movedAgain = 2 * time.Second
)

// Pauser pauses a subscription because of an answer of its receiver. PauseReceiver
// returns false and pauses nothing if the subscription has another URL by now, or no
// longer exists. Errors: domain.CodeUnavailable for an outage.
type Pauser interface {
	PauseReceiver(ctx context.Context, action *domain.Action, of *setup.Subscription) (bool, error)
}

// Journal writes the answer of a receiver into the journal, in the transaction that
// confirms the delivery.
type Journal interface {
	Delivered(ctx context.Context, tx domain.Effects, id domain.ID, attempt int, detail string) error
}

// HandlerOptions has what a Handler needs. All are required.
type HandlerOptions struct {
	Subscription setup.Subscription
	Receiver     *Receiver
	Pauser       Pauser
	Journal      Journal
	Metrics      *Metrics
	Actor        string // the name on record of who pauses a subscription
	Logger       *slog.Logger
}

// Handler returns the function that runs the tasks of a subscription.
func Handler(o HandlerOptions) work.Outward {
	return func(ctx context.Context, task work.Task) (work.Record, error) {
		a, charged := o.Receiver.Deliver(ctx, deliveryOf(task))
		o.Metrics.observe(o.Subscription.Name, &a, charged)
		switch a.Outcome {
		case Accepted:
			return func(ctx context.Context, tx domain.Effects) error {
				return o.Journal.Delivered(ctx, tx, task.EventID, task.Attempt, a.String())
			}, nil
		case Gone:
			if postponed := o.gone(ctx, &a); postponed != nil {
				return nil, postponed
			}
		case Refused:
			if a.Status == 0 {
				return nil, domain.Errorf(domain.CodeInvalid, "the delivery cannot be sent: %s", &a)
			}
			return nil, domain.Errorf(domain.CodeInvalid, "the receiver refused the delivery: %s", &a)
		case Repeat:
		}
		delay := o.delay(task.Attempt, &a)
		if !charged {
			return nil, &work.Postponed{Err: fmt.Errorf("the receiver is down, and this attempt is not counted: %s", &a), Delay: delay, Tried: a.Took > 0}
		}
		if task.Attempt >= o.Subscription.Attempts {
			return nil, domain.Errorf(domain.CodeInvalid, "the last of %d attempts failed: %s", o.Subscription.Attempts, &a)
		}
		return nil, &domain.Error{Code: domain.CodeUnavailable, Message: "the receiver did not take the delivery: " + a.String(), RetryAfter: delay}
	}
}

// gone pauses the subscription unless it has another URL by now. It returns a work.Postponed: the
// attempt does not count, so that the delivery still has its attempts when the subscription is
// resumed. If the database cannot be reached, the subscription is not paused, but the attempt does
// not count either. If the subscription cannot be paused for another reason, the result is nil, and
// the attempt counts like any failed attempt. So the delivery does not ask the receiver again and
// again for ever.
func (o *HandlerOptions) gone(ctx context.Context, a *Attempt) error {
	reason := "the receiver wants no deliveries any more: " + a.String()
	paused, err := o.Pauser.PauseReceiver(ctx, &domain.Action{Actor: o.Actor, Reason: reason}, &o.Subscription)
	if err != nil && domain.ErrorCode(err) != domain.CodeUnavailable && ctx.Err() == nil {
		o.Logger.ErrorContext(ctx, "a subscription could not be paused, although its receiver wants no deliveries any more", "subscription", o.Subscription.Name, "error", err)
		return nil
	}
	if err != nil {
		return &work.Postponed{Err: fmt.Errorf("%s; the subscription could not be paused: %w", reason, err), Delay: goneAgain, Tried: true}
	}
	if !paused {
		return &work.Postponed{Err: fmt.Errorf("%s; the subscription has another URL by now, and goes on", reason), Delay: movedAgain, Tried: true}
	}
	o.Logger.WarnContext(ctx, "a subscription is paused; outboxd subscriptions resume lets it go on", "subscription", o.Subscription.Name, "reason", reason)
	return &work.Postponed{Err: fmt.Errorf("the subscription is paused: %s", reason), Delay: goneAgain, Tried: true}
}

// delay returns how long to wait before the next attempt. The wait doubles with each attempt, with
// jitter. The wait is longer if the receiver asked for that, but never longer than the
// subscription's maximum. If the delivery was not sent because the receiver is down, a.RetryAfter
// is not what the receiver asked for, but its Pause: at least a second.
func (o *HandlerOptions) delay(attempt int, a *Attempt) time.Duration {
	most := max(o.Subscription.RetryMax, time.Second)
	ceiling := most
	if attempt >= 1 && attempt < 20 {
		ceiling = min(retryBase<<(attempt-1), most)
	}
	return max(ceiling/2+rand.N(ceiling/2+1), min(a.RetryAfter, most))
}

// deliveryOf returns the delivery that a task carries. deliveryOf removes the headers
// that the relay added to the event.
func deliveryOf(task work.Task) Delivery {
	d := Delivery{EventID: task.EventID, Type: task.Type, Payload: task.Payload, Headers: task.Headers, Attempt: task.Attempt}
	origin, delivery := task.Headers[domain.HeaderOrigin]
	if id, err := domain.ParseID(origin); delivery && err == nil {
		d.EventID = id
	}
	d.Queue, d.OrderingKey = task.Headers[domain.HeaderQueue], task.Headers[domain.HeaderKey]
	d.Headers = maps.Clone(task.Headers)
	delete(d.Headers, domain.HeaderOrigin)
	delete(d.Headers, domain.HeaderQueue)
	delete(d.Headers, domain.HeaderKey)
	if made, ok := d.EventID.Time(); ok {
		d.CreatedAt = made
	}
	return d
}

// TargetOf returns the Target for the deliveries of a subscription.
func TargetOf(s *setup.Subscription) Target {
	return Target{Name: s.Name, URL: s.URL, Secrets: s.Secrets, Format: s.Format, Timeout: s.Timeout}
}
