package work

import (
	"context"

	"github.com/hibiken/asynq"

	"outboxd/client/taskid"
	"outboxd/domain"
)

// eventOf returns the event of the task that runs in ctx, and the event's generation. It returns false for a task of
// another program.
func eventOf(ctx context.Context, task *asynq.Task) (id domain.ID, generation int, ok bool) {
	name, _ := asynq.GetTaskID(ctx)
	retried, _ := asynq.GetRetryCount(ctx)
	event, generation, ok := taskid.Read(name, task.Headers(), retried+1)
	return domain.ID(event), generation, ok
}
