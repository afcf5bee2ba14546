package jobs

import (
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
)

var _ domain.UnfinishedTasks = (*Publisher)(nil)

// unfinishedAtOnce bounds a round trip.
const unfinishedAtOnce = 500 // events

// Unfinished implements domain.UnfinishedTasks.
func (p *Publisher) Unfinished(ctx context.Context, events []domain.Event) ([]bool, error) {
	const doing = "look for unfinished tasks"
	queues, err := p.redis.SMembers(ctx, "asynq:queues").Result()
	if err != nil {
		return nil, domain.Wrap(domain.CodeUnavailable, err, doing)
	}
	found := make([]bool, 0, len(events))
	for some := range slices.Chunk(events, unfinishedAtOnce) {
		states := make([][]*redis.StringCmd, len(some))
		_, _ = p.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i, e := range some {
				for oldest := max(0, e.Generation-maxGenerations); e.Generation >= oldest; e.Generation-- {
					for _, queue := range queues {
						states[i] = append(states[i], pipe.HGet(ctx, taskKey(queue, e.TaskID()), "state"))
					}
				}
			}
			return nil
		})
		for i := range some {
			for _, state := range states[i] {
				if err := state.Err(); err != nil && !errors.Is(err, redis.Nil) {
					return nil, domain.Wrap(domain.CodeUnavailable, err, doing)
				}
			}
			found = append(found, slices.ContainsFunc(states[i], isUnfinished))
		}
	}
	return found, nil
}

func isUnfinished(state *redis.StringCmd) bool {
	switch state.Val() {
	case "pending", "active", "scheduled", "retry", "aggregating":
		return true
	default:
		return false
	}
}
