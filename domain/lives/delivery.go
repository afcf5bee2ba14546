package lives

import (
	"context"
	"fmt"
	"time"

	"outboxd/domain"
	"outboxd/domain/queued"
	"outboxd/domain/setup"
)

// Delivery is the state that the database has of one event's delivery to one subscription.
type Delivery struct {
	ID           domain.ID
	Subscription string
	State        State     // StateGone: only the journal knows it
	Since        time.Time // when it came into its state; of a pending one when it is due
	Generation   int
	Attempts     int           // attempts on record
	Last         *JournalEntry // the last thing on record; nil: nothing
	Paused       *setup.Pause  // nil: the subscription is not paused
	Removed      bool          // the subscription was removed
}

// Event returns the fields by which the delivery's task is found in Redis: ID, queue and generation.
func (d *Delivery) Event() *domain.Event {
	return &domain.Event{ID: d.ID, Queue: setup.SubscriptionQueuePrefix + d.Subscription, Generation: d.Generation}
}

// Open reports whether the delivery may still be attempted.
func (d *Delivery) Open() bool {
	return d.State == StatePending || d.State == StateHeld || d.State == StateInFlight
}

// Describe describes the delivery's state in a few words. tasks are the delivery's tasks in Redis; nil means that
// Redis was not asked.
func (d *Delivery) Describe(tasks []queued.TaskState, now time.Time) string {
	switch {
	case d.State == StateConfirmed:
		return "delivered"
	case d.State == StateDead:
		return "dead; outboxd dead replay sends it again"
	case d.State == StateCancelled:
		return "cancelled; it is not delivered"
	case d.State == StateGone && d.Last != nil && d.Last.Entry == "discarded":
		return "discarded, " + d.Last.Detail
	case !d.Open():
		return string(d.State)
	case d.Removed:
		return "waits: the subscription was removed"
	case d.Paused != nil:
		return fmt.Sprintf("waits: %s paused the subscription", d.Paused.By)
	case d.State == StateHeld:
		return "waits for the turn of its ordering key"
	case d.State == StatePending && d.Since.After(now):
		return "is due later"
	case d.State == StatePending:
		return "waits for a relay"
	case len(tasks) > 0 && tasks[0].State == "active":
		return "is being delivered"
	case len(tasks) > 0 && tasks[0].State == "pending":
		return "waits for a worker"
	case len(tasks) > 0 && tasks[0].State == queued.StateRetry:
		return "waits for the next attempt"
	case tasks != nil && len(tasks) == 0:
		return "has no task in Redis any more; the relay sends it again"
	default:
		return "was handed to Redis"
	}
}

// NextAt returns the planned time of the next attempt. NextAt is zero if no attempt is planned, if the next one
// comes at once, or if its time is not known.
func (d *Delivery) NextAt(tasks []queued.TaskState, now time.Time) time.Time {
	switch {
	case !d.Open() || d.Removed || d.Paused != nil:
		return time.Time{}
	case d.State == StatePending && d.Since.After(now):
		return d.Since
	case len(tasks) > 0:
		return tasks[0].NextAt
	}
	return time.Time{}
}

// LastStatus returns the last error of an open delivery's task or, without one, the detail of the last thing on
// record. It is "" if there is neither.
func (d *Delivery) LastStatus(tasks []queued.TaskState) string {
	if d.Open() && len(tasks) > 0 && tasks[0].LastError != "" {
		return tasks[0].LastError
	}
	if d.Last == nil {
		return ""
	}
	return d.Last.Detail
}

// deliveriesAsked bounds the deliveries of one event whose tasks are looked up in Redis.
const deliveriesAsked = 20

// DeliveryTasks looks up the tasks of up to 20 deliveries that are in flight. The map has no key for a delivery
// that was not looked up. Errors: domain.CodeUnavailable.
func DeliveryTasks(ctx context.Context, queue queued.TaskStates, deliveries []Delivery) (map[domain.ID][]queued.TaskState, error) {
	tasks := map[domain.ID][]queued.TaskState{}
	for i := range deliveries {
		d := &deliveries[i]
		if d.State != StateInFlight {
			continue
		}
		if len(tasks) == deliveriesAsked {
			return tasks, nil
		}
		found, err := queue.Tasks(ctx, d.Event())
		if err != nil {
			return tasks, err
		}
		tasks[d.ID] = found
	}
	return tasks, nil
}
