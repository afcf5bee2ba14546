package inspect

import (
	"context"
	"slices"
	"strings"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

// Overviews is the domain.QueueOverviews. It is safe for concurrent use.
type Overviews struct {
	redis     redis.UniversalClient
	inspector *asynq.Inspector
}

// NewOverviews returns the overviews of a Redis.
func NewOverviews(r *broker.Redis) *Overviews { return &Overviews{r.Client(), r.Inspector()} }

var _ domain.QueueOverviews = (*Overviews)(nil)

// Queues implements domain.QueueOverviews, in two round trips. Asynq's own
// inspector also estimates memory, which reads tasks.
func (o *Overviews) Queues(ctx context.Context) ([]domain.QueueStatus, error) {
	names, err := o.redis.SMembers(ctx, broker.QueuesKey).Result()
	if err != nil {
		return nil, broker.Unavailable("count the tasks of the queues", err)
	}
	slices.Sort(names)
	counts := make([][5]*redis.IntCmd, len(names))
	_, err = o.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, name := range names {
			counts[i] = [5]*redis.IntCmd{
				pipe.LLen(ctx, broker.PendingKey(name)), pipe.LLen(ctx, broker.ActiveKey(name)),
				pipe.ZCard(ctx, broker.ScheduledKey(name)), pipe.ZCard(ctx, broker.RetryKey(name)), pipe.ZCard(ctx, broker.ArchivedKey(name)),
			}
		}
		return nil
	})
	if err != nil {
		return nil, broker.Unavailable("count the tasks of the queues", err)
	}
	queues := make([]domain.QueueStatus, len(names))
	for i, name := range names {
		n := counts[i]
		queues[i] = domain.QueueStatus{
			Name: name, Pending: n[0].Val(), Active: n[1].Val(), Scheduled: n[2].Val(), Retry: n[3].Val(), Archived: n[4].Val(),
		}
	}
	return queues, nil
}

// Workers implements domain.QueueOverviews. Asynq's inspector takes no context;
// the client's own limits bound it.
func (o *Overviews) Workers(context.Context) ([]domain.WorkerStatus, error) {
	servers, err := o.inspector.Servers()
	if err != nil {
		return nil, broker.Unavailable("look for workers", err)
	}
	workers := make([]domain.WorkerStatus, len(servers))
	for i, s := range servers {
		workers[i] = domain.WorkerStatus{
			Host: s.Host, PID: s.PID, StartedAt: s.Started, Concurrency: s.Concurrency, Busy: len(s.ActiveWorkers),
			Stopping: s.Status != "active",
		}
	}
	slices.SortFunc(workers, func(a, b domain.WorkerStatus) int {
		if order := strings.Compare(a.Host, b.Host); order != 0 {
			return order
		}
		return a.PID - b.PID
	})
	return workers, nil
}
