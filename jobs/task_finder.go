package jobs

import (
	"context"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/domain"
)

// TaskFinder is the domain.TaskFinder: it asks Redis for tasks by their keys,
// many in one round trip. It is safe for concurrent use.
type TaskFinder struct{ redis redis.UniversalClient }

// NewTaskFinder returns a TaskFinder for a Redis. It does not connect.
func NewTaskFinder(opt asynq.RedisConnOpt) (*TaskFinder, error) {
	client, err := NewRedis(opt, 2)
	return &TaskFinder{redis: client}, err
}

var _ domain.TaskFinder = (*TaskFinder)(nil)

// taskKey is where Asynq keeps a task.
func taskKey(queue, taskID string) string { return "asynq:{" + queue + "}:t:" + taskID }

// Close closes the connections.
func (f *TaskFinder) Close() error { return f.redis.Close() }

// Holds implements domain.TaskFinder.
func (f *TaskFinder) Holds(ctx context.Context, events []domain.Event) ([]bool, error) {
	found := make([]*redis.IntCmd, len(events))
	_, err := f.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i := range events {
			found[i] = pipe.Exists(ctx, taskKey(events[i].Queue, events[i].TaskID()))
		}
		return nil
	})
	if err != nil {
		return nil, domain.Wrap(domain.CodeUnavailable, err, "look tasks up")
	}
	holds := make([]bool, len(events))
	for i := range found {
		holds[i] = found[i].Val() > 0
	}
	return holds, nil
}
