package jobs

import (
	"context"
	"slices"

	"outboxd/domain"
)

// Unconfirmed names the types of events that nobody confirms: of these, a task
// that is completed and kept counts as already there. Of all others it gives
// way, because an event that comes again is one whose effect is in doubt; if it
// took effect, the inbox absorbs the repeat. It must be called before the first
// use.
func (p *Publisher) Unconfirmed(types []string) { p.unconfirmed = types }

var _ domain.TaskFinder = (*Publisher)(nil)

// Look implements domain.TaskFinder.
func (p *Publisher) Look(ctx context.Context, events []domain.Event) ([]domain.TaskPresence, error) {
	return p.tasks.Look(ctx, events)
}

// lookCloser enqueues again what is not really there. That a task's key exists is
// all that Asynq's script asks, and only where it does, which is rare, more is
// asked: where a worker would find the task. The remains of one that no worker
// finds are cleared away, and so is a completed one. It takes one round trip, and
// another one where there was something. The error says that too few replicas
// have what was enqueued again.
func (p *Publisher) lookCloser(ctx context.Context, l *lane, events []domain.Event, receipts []domain.Receipt) error {
	var asked []*inquiry
	var of []int
	for i := range receipts {
		if receipts[i].Answer != domain.AlreadyThere {
			continue
		}
		todo := clearCompleted
		if slices.Contains(p.unconfirmed, events[i].Type) {
			todo = clearStranded
		}
		asked = append(asked, &inquiry{queue: events[i].Queue, taskID: events[i].TaskID(), todo: todo})
		of = append(of, i)
	}
	if len(asked) == 0 {
		return nil
	}
	if err := p.tasks.look(ctx, asked); err != nil {
		for _, i := range of {
			receipts[i] = domain.Receipt{Err: err}
		}
		return nil
	}
	var again []domain.Event
	var places []int
	for n, q := range asked {
		if presence := q.presence(); presence.Lost() || presence == domain.TaskCompleted && q.todo == clearCompleted {
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
