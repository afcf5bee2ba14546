package inspect

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/domain/queued"
	"outboxd/jobs/broker"
)

// Archive implements queued.ArchivedTasks: it reads the tasks that Asynq has archived.
type Archive struct {
	redis     redis.UniversalClient
	inspector *asynq.Inspector
}

// NewArchive returns the Archive of a Redis.
func NewArchive(r *broker.Redis) *Archive { return &Archive{r.Client(), r.Inspector()} }

var _ queued.ArchivedTasks = (*Archive)(nil)

// Queues implements queued.ArchivedTasks.
func (a *Archive) Queues(ctx context.Context) ([]string, error) {
	queues, err := a.redis.SMembers(ctx, broker.QueuesKey).Result()
	if err != nil {
		return nil, broker.Unavailable("read the names of the queues", err)
	}
	return queues, nil
}

// Archived implements queued.ArchivedTasks.
func (a *Archive) Archived(ctx context.Context, queue string, from time.Time, skip, limit int) ([]queued.ArchivedTask, error) {
	members, err := a.redis.ZRangeByScoreWithScores(ctx, broker.ArchivedKey(queue), &redis.ZRangeBy{
		Min: strconv.FormatInt(from.Unix(), 10), Max: "+inf", Offset: int64(skip), Count: int64(limit),
	}).Result()
	if err != nil {
		return nil, broker.Unavailable("read the archived tasks of queue "+queue, err)
	}
	return archivedTasks(members), nil
}

// Failure implements queued.ArchivedTasks. Asynq's inspector takes no context; the
// timeouts of the client limit it.
func (a *Archive) Failure(_ context.Context, queue, taskID string) (domain.FailedTask, error) {
	info, err := a.inspector.GetTaskInfo(queue, taskID)
	switch {
	case errors.Is(err, asynq.ErrTaskNotFound), errors.Is(err, asynq.ErrQueueNotFound), err == nil && info.State != asynq.TaskStateArchived:
		return domain.FailedTask{}, domain.Errorf(domain.CodeNotFound, "task %s is not archived any more", taskID)
	case err != nil:
		return domain.FailedTask{}, broker.Unavailable("read task "+taskID, err)
	}
	id, generation, err := domain.ParseTaskID(taskID)
	if err != nil {
		return domain.FailedTask{}, err
	}
	return domain.FailedTask{
		Event:   domain.Event{ID: id, Generation: generation, Type: info.Type, Payload: info.Payload, Headers: broker.EventHeaders(info.Headers), Queue: queue},
		Attempt: info.Retried + 1, Err: broker.Cause(info.LastErr),
	}, nil
}

// NewestArchived returns up to limit archived tasks of a queue, the newest first. For a queue whose keys this user may
// not use, it returns none. Errors: domain.CodeUnavailable.
func (o *Overviews) NewestArchived(ctx context.Context, queue string, limit int) ([]queued.ArchivedTask, error) {
	members, err := o.redis.ZRevRangeWithScores(ctx, broker.ArchivedKey(queue), 0, int64(limit)-1).Result()
	if err != nil && !broker.IsForbiddenKey(err) {
		return nil, broker.Unavailable("read the archived tasks of queue "+queue, err)
	}
	return archivedTasks(members), nil
}

func archivedTasks(members []redis.Z) []queued.ArchivedTask {
	tasks := make([]queued.ArchivedTask, len(members))
	for i, member := range members {
		tasks[i].TaskID, _ = member.Member.(string)
		tasks[i].At = time.Unix(int64(member.Score), 0)
	}
	return tasks
}
