package jobs

import (
	"context"
	"errors"

	"github.com/hibiken/asynq"

	"outboxd/domain"
)

// TaskStates is the domain.TaskStates of one Redis, to which it connects when
// asked.
type TaskStates struct{ opt asynq.RedisConnOpt }

// NewTaskStates returns the states of the tasks in a Redis.
func NewTaskStates(opt asynq.RedisConnOpt) TaskStates { return TaskStates{opt} }

var _ domain.TaskStates = TaskStates{}

// Tasks implements domain.TaskStates.
func (t TaskStates) Tasks(ctx context.Context, event *domain.Event) ([]domain.TaskState, error) {
	return FindTasks(ctx, t.opt, event)
}

// maxGenerations bounds how many of an event's tasks are looked for.
const maxGenerations = 20

// FindTasks returns what Redis knows of an event's tasks, the newest generation
// first. It looks in the event's queue or, where that is empty, in all.
//
// Errors: domain.CodeUnavailable if Redis cannot be reached.
func FindTasks(ctx context.Context, opt asynq.RedisConnOpt, event *domain.Event) ([]domain.TaskState, error) {
	client, err := NewRedis(opt, 2)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	inspector := asynq.NewInspectorFromRedisClient(client)
	// Asynq's inspector takes no context.
	if err := client.Ping(ctx).Err(); err != nil {
		return nil, unavailable(err)
	}
	queues := []string{event.Queue}
	if event.Queue == "" {
		if queues, err = inspector.Queues(); err != nil {
			return nil, unavailable(err)
		}
	}
	return findTasks(ctx, &looker{redis: client}, inspector, queues, event)
}

// findTasks looks where workers would, and then for what is there to know.
func findTasks(ctx context.Context, look *looker, inspector *asynq.Inspector, queues []string, event *domain.Event) ([]domain.TaskState, error) {
	var asked []*inquiry
	for generation := event.Generation; generation >= max(0, event.Generation-maxGenerations); generation-- {
		of := domain.Event{ID: event.ID, Generation: generation}
		for _, queue := range queues {
			asked = append(asked, &inquiry{queue: queue, taskID: of.TaskID(), todo: onlyLook})
		}
	}
	if err := look.look(ctx, asked); err != nil {
		return nil, err
	}
	found := []domain.TaskState{}
	for _, q := range asked {
		switch q.presence() {
		case domain.TaskMissing:
			continue
		case domain.TaskStranded:
			found = append(found, domain.TaskState{TaskID: q.taskID, Queue: q.queue, State: domain.StateStranded})
			continue
		}
		info, err := inspector.GetTaskInfo(q.queue, q.taskID)
		switch {
		case errors.Is(err, asynq.ErrTaskNotFound), errors.Is(err, asynq.ErrQueueNotFound): // it ended just now
		case err != nil:
			return nil, unavailable(err)
		default:
			found = append(found, domain.TaskState{
				TaskID: info.ID, Queue: info.Queue, State: info.State.String(), Retried: info.Retried, MaxRetry: info.MaxRetry,
				LastError: info.LastErr, NextAt: info.NextProcessAt, CompletedAt: info.CompletedAt,
			})
		}
	}
	return found, nil
}
