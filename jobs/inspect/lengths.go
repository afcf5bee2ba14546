package inspect

import (
	"context"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

var _ domain.QueueLengths = (*Overviews)(nil)

// Lengths implements domain.QueueLengths, in one round trip: what Asynq keeps of a queue in
// lists and sorted sets, without what is completed or archived.
func (o *Overviews) Lengths(ctx context.Context, queues []string) (map[string]int64, error) {
	counts := make([][]*redis.IntCmd, len(queues))
	_, err := o.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, queue := range queues {
			counts[i] = []*redis.IntCmd{
				pipe.LLen(ctx, broker.PendingKey(queue)), pipe.LLen(ctx, broker.ActiveKey(queue)),
				pipe.ZCard(ctx, broker.ScheduledKey(queue)), pipe.ZCard(ctx, broker.RetryKey(queue)),
			}
		}
		return nil
	})
	if err != nil {
		return nil, broker.Unavailable("measure the queues", err)
	}
	lengths := make(map[string]int64, len(queues))
	for i, queue := range queues {
		for _, count := range counts[i] {
			lengths[queue] += count.Val()
		}
	}
	return lengths, nil
}
