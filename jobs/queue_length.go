package jobs

import (
	"context"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
)

// Lengths implements domain.QueueLengths, in one round trip: what Asynq keeps of a queue in
// lists and sorted sets, without what is completed or archived.
func (p *Publisher) Lengths(ctx context.Context, queues []string) (map[string]int64, error) {
	counts := make([][]*redis.IntCmd, len(queues))
	_, err := p.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, queue := range queues {
			prefix := "asynq:{" + queue + "}:"
			counts[i] = []*redis.IntCmd{
				pipe.LLen(ctx, prefix+"pending"), pipe.LLen(ctx, prefix+"active"),
				pipe.ZCard(ctx, prefix+"scheduled"), pipe.ZCard(ctx, prefix+"retry"),
			}
		}
		return nil
	})
	if err != nil {
		return nil, domain.Wrap(domain.CodeUnavailable, err, "measure the queues")
	}
	lengths := make(map[string]int64, len(queues))
	for i, queue := range queues {
		for _, count := range counts[i] {
			lengths[queue] += count.Val()
		}
	}
	return lengths, nil
}
