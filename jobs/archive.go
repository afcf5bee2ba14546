package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/domain"
)

const (
	// archiveEvery is how often a worker looks into Asynq's archive.
	archiveEvery = time.Minute
	// archiveOverlap is looked at twice, for clocks that differ.
	archiveOverlap = time.Minute
	// archiveBatch is how many of the archive's tasks are looked up at once.
	archiveBatch = 1000
)

// archive finds tasks that Asynq archived without asking the worker: those
// whose worker was killed in their last attempt, and those that were given up
// while the database was away. Their events become dead letters too.
type archive struct {
	w         *Worker
	redis     redis.UniversalClient
	inspector *asynq.Inspector
	seen      map[string]int64 // by queue, when the newest task was archived, in Unix seconds
}

func (w *Worker) newArchive(client redis.UniversalClient) *archive {
	return &archive{w: w, redis: client, inspector: asynq.NewInspectorFromRedisClient(client), seen: map[string]int64{}}
}

// run looks at once and then every archiveEvery, until ctx ends. A look that
// fails is made up for by the next.
func (a *archive) run(ctx context.Context) {
	again := time.NewTicker(archiveEvery)
	defer again.Stop()
	for {
		for queue := range a.w.o.Queues {
			if err := a.look(ctx, queue); err != nil && ctx.Err() == nil {
				a.w.log.Warn("could not look into Asynq's archive", "queue", queue, "retry_in", archiveEvery, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

// look goes through what was archived since the last time.
func (a *archive) look(ctx context.Context, queue string) error {
	from := fmt.Sprint(a.seen[queue] - int64(archiveOverlap/time.Second))
	tasks, err := a.redis.ZRangeByScoreWithScores(ctx, "asynq:{"+queue+"}:archived", &redis.ZRangeBy{Min: from, Max: "+inf"}).Result()
	if err != nil {
		return err
	}
	for begin := 0; begin < len(tasks); begin += archiveBatch {
		batch := tasks[begin:min(begin+archiveBatch, len(tasks))]
		if err := a.bury(ctx, queue, batch); err != nil {
			return err
		}
		a.seen[queue] = int64(batch[len(batch)-1].Score)
	}
	return nil
}

func (a *archive) bury(ctx context.Context, queue string, batch []redis.Z) error {
	taskIDs := map[domain.ID][]string{}
	var ids []domain.ID
	for _, member := range batch {
		taskID, _ := member.Member.(string)
		if id, err := domain.EventID(taskID); err == nil {
			ids, taskIDs[id] = append(ids, id), append(taskIDs[id], taskID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	open, err := a.w.o.Failures.Unburied(ctx, ids)
	if err != nil {
		return err
	}
	for _, id := range open {
		for _, taskID := range taskIDs[id] {
			if err := a.buryTask(ctx, queue, taskID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *archive) buryTask(ctx context.Context, queue, taskID string) error {
	info, err := a.inspector.GetTaskInfo(queue, taskID)
	if errors.Is(err, asynq.ErrTaskNotFound) || err == nil && info.State != asynq.TaskStateArchived {
		return nil // somebody has dealt with it
	} else if err != nil {
		return err
	}
	id, generation, err := domain.ParseTaskID(taskID)
	if err != nil {
		return err
	}
	failed := domain.FailedTask{
		Event:   domain.Event{ID: id, Generation: generation, Type: info.Type, Payload: info.Payload, Headers: info.Headers, Queue: queue},
		Attempt: info.Retried + 1, Err: cause(info.LastErr),
	}
	// Only what is on record: a person may have discarded the event, and its
	// task stays in the archive.
	burial, err := a.w.o.Failures.Bury(ctx, failed, true)
	if err == nil && burial == domain.Buried {
		a.w.log.Error("a task that Asynq archived is a dead letter now", "event_id", id, "task_type", info.Type, "queue", queue, "error", info.LastErr)
	}
	return err
}
