package jobs

import (
	"context"

	"github.com/hibiken/asynq"

	"outboxd/domain"
)

// TaskFinder is the domain.TaskFinder: it looks for tasks in Redis, many in one
// round trip.
type TaskFinder struct{ looker }

// NewTaskFinder returns a TaskFinder for a Redis. It does not connect.
func NewTaskFinder(opt asynq.RedisConnOpt) (*TaskFinder, error) {
	client, err := NewRedis(opt, 2)
	return &TaskFinder{looker{redis: client}}, err
}

var _ domain.TaskFinder = (*TaskFinder)(nil)

// taskKey is where Asynq keeps a task.
func taskKey(queue, taskID string) string { return queuePrefix(queue) + "t:" + taskID }

// Close closes the connections.
func (f *TaskFinder) Close() error { return f.redis.Close() }

// Look implements domain.TaskFinder.
func (l *looker) Look(ctx context.Context, events []domain.Event) ([]domain.TaskPresence, error) {
	asked := make([]*inquiry, len(events))
	for i := range events {
		asked[i] = &inquiry{queue: events[i].Queue, taskID: events[i].TaskID(), todo: onlyLook}
	}
	if err := l.look(ctx, asked); err != nil {
		return nil, err
	}
	found := make([]domain.TaskPresence, len(asked))
	for i, q := range asked {
		found[i] = q.presence()
	}
	return found, nil
}
