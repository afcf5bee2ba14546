package publish

import (
	"context"
	"slices"

	"outboxd/domain"
	"outboxd/jobs/lookup"
)

// Unconfirmed names the types of events that no consumer confirms: of these, a task
// that is completed and kept counts as already there. Of all others it gives
// way, because an event that comes again is one whose effect is in doubt; if it
// took effect, the inbox absorbs the repeat. It must be called before the first
// use.
func (p *Publisher) Unconfirmed(types []string) { p.unconfirmed = types }

// lookCloser enqueues again what is not really there. That a task's key exists is
// all that Asynq's script asks, and only where it does, which is rare, more is
// asked: where a worker would find the task. The remains of one that no worker
// finds are cleared away, and so is a completed one. It takes one round trip, and
// another one where there was something. The error says that too few replicas
// have what was enqueued again.
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
		for _, i := range of {
			receipts[i] = domain.Receipt{Err: err}
		}
		return nil
	}
	var again []domain.Event
	var places []int
	for n, q := range asked {
		if presence := q.Presence(); presence.Lost() || presence == domain.TaskCompleted && q.Todo == lookup.ClearCompleted {
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
