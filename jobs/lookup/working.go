package lookup

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/jobs/broker"
)

// clocksDiffer is the largest difference between the clocks of two machines with which
// working still finds the tasks of a worker.
const clocksDiffer = time.Hour

// working returns the IDs of the tasks that workers say they work on. working does not use
// Asynq's inspector, because the inspector's method takes no context, and leaves out a
// worker about which Redis did not answer.
func (f *Finder) working(ctx context.Context) (map[string]bool, error) {
	const doing = "look for running workers"
	since := strconv.FormatInt(time.Now().Add(-clocksDiffer).Unix(), 10)
	workers, err := f.redis.ZRangeByScore(ctx, broker.WorkersKey, &redis.ZRangeBy{Min: since, Max: "+inf"}).Result()
	if err != nil {
		return nil, broker.Unavailable(doing, err)
	}
	if len(workers) == 0 {
		return nil, nil
	}
	answers := make([]*redis.StringSliceCmd, len(workers))
	if _, err := f.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, key := range workers {
			answers[i] = pipe.HKeys(ctx, key)
		}
		return nil
	}); err != nil {
		return nil, broker.Unavailable(doing, err)
	}
	told := map[string]bool{}
	for _, answer := range answers {
		for _, task := range answer.Val() {
			told[task] = true
		}
	}
	return told, nil
}
