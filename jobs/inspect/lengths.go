package inspect

import (
	"context"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

var _ domain.QueueLengths = (*Overviews)(nil)

// Lengths implements domain.QueueLengths, in one round trip. The length of a queue is the number of
// its pending, active, scheduled and failing tasks. Lengths leaves out a queue whose keys this user
// may not use, and a queue whose master in a cluster does not answer while another master does.
func (o *Overviews) Lengths(ctx context.Context, queues []string) (map[string]int64, error) {
	counts := make([][]*redis.IntCmd, len(queues))
	// Each answer has its own error.
	_, _ = o.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, queue := range queues {
			counts[i] = []*redis.IntCmd{
				pipe.LLen(ctx, broker.PendingKey(queue)), pipe.LLen(ctx, broker.ActiveKey(queue)),
				pipe.ZCard(ctx, broker.ScheduledKey(queue)), pipe.ZCard(ctx, broker.RetryKey(queue)),
			}
		}
		return nil
	})
	var failed error
	lengths := make(map[string]int64, len(queues))
	for i, queue := range queues {
		length, err := sum(counts[i])
		switch {
		case err == nil:
			lengths[queue] = length
		case !broker.IsForbiddenKey(err):
			failed = err
		}
	}
	if failed != nil && len(lengths) == 0 {
		return nil, broker.Unavailable("measure the queues", failed)
	}
	return lengths, nil
}

func sum(counts []*redis.IntCmd) (total int64, err error) {
	for _, count := range counts {
		n, err := count.Result()
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}
