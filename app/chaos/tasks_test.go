package chaos

import (
	"context"
	"fmt"
	"strings"

	"github.com/hibiken/asynq"

	"outboxd/domain"
)

// deletion is a way to delete tasks, or what Asynq needs to run them, while everything
// else in Redis stays. do returns 0 if there was nothing to delete.
type deletion struct {
	what string
	do   func(ctx context.Context, q queue, inspector *asynq.Inspector) (int64, error)
}

// some is how many tasks a deletion hits, unless it hits all.
const some = 5

var deletions = []deletion{
	{"hashes of tasks", func(ctx context.Context, q queue, _ *asynq.Inspector) (int64, error) {
		ids, err := q.redis.LRange(ctx, queuePrefix+"pending", 0, some-1).Result()
		if err != nil || len(ids) == 0 {
			return 0, err
		}
		keys := make([]string, len(ids))
		for i, id := range ids {
			keys[i] = queuePrefix + "t:" + id
		}
		return q.redis.Del(ctx, keys...).Result()
	}},
	{"tasks, by the inspector", func(ctx context.Context, q queue, inspector *asynq.Inspector) (deleted int64, err error) {
		ids, err := q.redis.LRange(ctx, queuePrefix+"pending", 0, some-1).Result()
		for _, id := range ids {
			if inspector.DeleteTask(domain.DefaultQueue, id) == nil { // else a worker was quicker
				deleted++
			}
		}
		return deleted, err
	}},
	{"all that are pending, by the inspector", func(_ context.Context, _ queue, inspector *asynq.Inspector) (int64, error) {
		return unlessMissing(inspector.DeleteAllPendingTasks(domain.DefaultQueue))
	}},
	{"all that are to be tried again, by the inspector", func(_ context.Context, _ queue, inspector *asynq.Inspector) (int64, error) {
		return unlessMissing(inspector.DeleteAllRetryTasks(domain.DefaultQueue))
	}},
	{"the pending list", deleteKey("pending")},
	{"the active list", deleteKey("active")},
	{"leases", deleteKey("lease")},
	{"the queue, by the inspector", func(ctx context.Context, q queue, inspector *asynq.Inspector) (int64, error) {
		n, err := q.length(ctx)
		if err != nil {
			return 0, err
		}
		if inspector.DeleteQueue(domain.DefaultQueue, true) != nil { // a task is active
			return 0, nil
		}
		return n, nil
	}},
}

func deleteKey(name string) func(context.Context, queue, *asynq.Inspector) (int64, error) {
	return func(ctx context.Context, q queue, _ *asynq.Inspector) (int64, error) {
		return q.redis.Del(ctx, queuePrefix+name).Result()
	}
}

// unlessMissing returns the result of a deletion, or 0 if the queue is missing, as
// in an empty Redis. The inspector has no error value for that case, only a text.
func unlessMissing(n int, err error) (int64, error) {
	if err != nil && strings.Contains(err.Error(), "does not exist") {
		return 0, nil
	}
	return int64(n), err
}

// deleteTasks deletes tasks, either through Asynq's inspector or with plain
// Redis commands.
func (i *injector) deleteTasks(ctx context.Context, target uint64) (string, func() string, error) {
	if i.down[i.servers.RedisServer] {
		return "", nil, nil
	}
	d := deletions[target%uint64(len(deletions))]
	inspector := asynq.NewInspectorFromRedisClient(i.redis)
	n, err := d.do(ctx, queue{redis: i.redis}, inspector)
	if err != nil {
		return "", nil, fmt.Errorf("delete %s: %w", d.what, err)
	}
	if n == 0 {
		return "", nil, nil
	}
	return d.what, nil, nil
}
