package publish

import (
	"context"
	"slices"

	"outboxd/domain"
	"outboxd/domain/queued"
	"outboxd/jobs/lookup"
)

// Unconfirmed sets the types of events that no consumer confirms. An event of these types counts as enqueued if
// Redis still has its completed task (Asynq's retention). For all other types, and for deliveries, the completed
// task is replaced by a new one: the event is sent again because its effect is in doubt. If it did take effect,
// the inbox ignores the repeat. Call Unconfirmed before the first use.
func (p *Publisher) Unconfirmed(types []string) { p.unconfirmed = types }

// lookCloser handles events for which Asynq answered that the task exists. Asynq's script only tests whether the
// task's key exists, so lookCloser checks whether a worker would find the task. If no worker would, or if the task
// is completed (but see Unconfirmed), lookCloser removes the task and enqueues the event again. lookCloser is
// rarely needed. It takes at least one round trip, and another one to enqueue events again. An error means that
// too few replicas have the events that were enqueued again.
func (p *Publisher) lookCloser(ctx context.Context, l *lane, events []domain.Event, receipts []domain.Receipt) error {
	var asked []*lookup.Inquiry
	var of []int
	for i := range receipts {
		if receipts[i].Answer != domain.AlreadyThere {
			continue
		}
		todo := lookup.ClearCompleted
		if events[i].Subscription == "" && slices.Contains(p.unconfirmed, events[i].Type) {
			todo = lookup.ClearStranded
		}
		asked = append(asked, &lookup.Inquiry{Queue: events[i].Queue, TaskID: events[i].TaskID(), Todo: todo})
		of = append(of, i)
	}
	if len(asked) == 0 {
		return nil
	}
	if err := p.tasks.Ask(ctx, asked); err != nil {
		unusable := domain.UnusableQueues(err)
		others := false
		for _, i := range of {
			if len(unusable) > 0 && !slices.Contains(unusable, events[i].Queue) {
				others = true
				continue
			}
			receipts[i] = domain.Receipt{Err: lookError{err}}
		}
		if others {
			return p.lookCloser(ctx, l, events, receipts)
		}
		return nil
	}
	var again []domain.Event
	var places []int
	for n, q := range asked {
		if presence := q.Presence(); presence.Lost() || presence == queued.TaskCompleted && q.Todo == lookup.ClearCompleted {
			again, places = append(again, events[of[n]]), append(places, of[n])
		}
	}
	if len(again) == 0 {
		return nil
	}
	second := make([]domain.Receipt, len(again))
	short := l.carry(ctx, again, second, p.replicas)
	p.findHolders(ctx, again, second)
	for n, i := range places {
		receipts[i] = second[n]
	}
	return short
}

// lookError is the error of a question about a task that exists. It says nothing about the script that enqueues tasks,
// so the task must stay (see clearAway).
type lookError struct{ error }

// Unwrap returns the error of the question.
func (e lookError) Unwrap() error { return e.error }
