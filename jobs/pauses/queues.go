package pauses

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/client/bell"
	"outboxd/domain"
	"outboxd/jobs/broker"
)

// Queues implements domain.QueuePauses.
type Queues struct{ redis redis.UniversalClient }

// New returns the queues of a Redis.
func New(r *broker.Redis) *Queues { return &Queues{r.Client()} }

var _ domain.QueuePauses = (*Queues)(nil)

// Pause implements domain.QueuePauses.
func (q *Queues) Pause(ctx context.Context, queue string, known bool) error {
	const doing = "pause a queue"
	if !known {
		member, err := q.redis.SIsMember(ctx, broker.QueuesKey, queue).Result()
		switch {
		case err != nil:
			return broker.Unavailable(doing, err)
		case !member:
			return domain.Errorf(domain.CodeNotFound, "Redis knows no queue %.100q; outboxd queues list names the queues. A queue can be paused once it has had a task", queue)
		}
	}
	set, err := q.redis.SetNX(ctx, broker.PausedKey(queue), time.Now().Unix(), 0).Result()
	switch {
	case err != nil:
		return broker.Unavailable(doing, err)
	case !set:
		return domain.Errorf(domain.CodeConflict, "queue %.100q is paused already", queue)
	}
	return nil
}

// Paused implements domain.QueuePauses.
func (q *Queues) Paused(ctx context.Context, queues []string) ([]string, error) {
	paused, err := Among(ctx, q.redis, queues)
	if err != nil {
		return nil, broker.Unavailable("ask which queues are paused", err)
	}
	return paused, nil
}

// Among returns those of the queues that are paused, by outboxd or by Asynq's own tools, in the given order. Errors:
// those of the client.
func Among(ctx context.Context, client redis.UniversalClient, queues []string) (paused []string, err error) {
	marks := make([]*redis.IntCmd, len(queues))
	_, err = client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for n, queue := range queues {
			marks[n] = pipe.Exists(ctx, broker.PausedKey(queue))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for n, queue := range queues {
		if marks[n].Val() > 0 {
			paused = append(paused, queue)
		}
	}
	return paused, nil
}

// Resume implements domain.QueuePauses.
func (q *Queues) Resume(ctx context.Context, queue string) error {
	n, err := q.redis.Del(ctx, broker.PausedKey(queue)).Result()
	switch {
	case err != nil:
		return broker.Unavailable("resume a queue", err)
	case n == 0:
		return domain.Errorf(domain.CodeConflict, "queue %.100q is not paused", queue)
	}
	// Without the bell, idle workers find the tasks only at their next poll.
	_ = q.redis.Publish(ctx, bell.Channel, "").Err()
	return nil
}
