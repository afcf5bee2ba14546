package jobs

import (
	"context"

	"outboxd/domain"
)

var _ domain.UnfinishedTasks = (*Publisher)(nil)

// Unfinished implements domain.UnfinishedTasks.
func (p *Publisher) Unfinished(ctx context.Context, events []domain.Event) ([]bool, error) {
	queues, err := p.redis.SMembers(ctx, "asynq:queues").Result()
	if err != nil {
		return nil, domain.Wrap(domain.CodeUnavailable, err, "look for unfinished tasks")
	}
	var asked []*inquiry
	of := make([][]*inquiry, len(events))
	for i, e := range events {
		for oldest := max(0, e.Generation-maxGenerations); e.Generation >= oldest; e.Generation-- {
			for _, queue := range queues {
				of[i] = append(of[i], &inquiry{queue: queue, taskID: e.TaskID(), todo: onlyLook})
			}
		}
		asked = append(asked, of[i]...)
	}
	if err := p.tasks.look(ctx, asked); err != nil {
		return nil, err
	}
	found := make([]bool, len(events))
	for i := range events {
		for _, q := range of[i] {
			found[i] = found[i] || q.presence() == domain.TaskUnfinished
		}
	}
	return found, nil
}
