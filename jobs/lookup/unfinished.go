package lookup

import (
	"context"
	"slices"

	"outboxd/domain"
	"outboxd/domain/queued"
	"outboxd/jobs/broker"
)

var _ queued.UnfinishedTasks = (*Finder)(nil)

// Unfinished implements queued.UnfinishedTasks.
func (f *Finder) Unfinished(ctx context.Context, events []domain.Event) ([]bool, error) {
	queues, err := f.redis.SMembers(ctx, broker.QueuesKey).Result()
	if err != nil {
		return nil, broker.Unavailable("look for unfinished tasks", err)
	}
	found, err := f.unfinishedIn(ctx, queues, events)
	if forbidden := domain.UnusableQueues(err); len(forbidden) > 0 {
		queues = slices.DeleteFunc(queues, func(queue string) bool { return slices.Contains(forbidden, queue) })
		return f.unfinishedIn(ctx, queues, events)
	}
	return found, err
}

func (f *Finder) unfinishedIn(ctx context.Context, queues []string, events []domain.Event) ([]bool, error) {
	var asked []*Inquiry
	of := make([][]*Inquiry, len(events))
	for i, e := range events {
		for oldest := max(0, e.Generation-maxGenerations); e.Generation >= oldest; e.Generation-- {
			for _, queue := range queues {
				of[i] = append(of[i], &Inquiry{Queue: queue, TaskID: e.TaskID()})
			}
		}
		asked = append(asked, of[i]...)
	}
	if err := f.Ask(ctx, asked); err != nil {
		return nil, err
	}
	found := make([]bool, len(events))
	for i := range events {
		for _, q := range of[i] {
			found[i] = found[i] || q.Presence() == queued.TaskUnfinished
		}
	}
	return found, nil
}
