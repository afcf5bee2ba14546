package queued

import (
	"context"
	"time"

	"outboxd/domain"
)

// ArchivedTask is a task that Asynq gave up, or that a person moved to Asynq's archive.
type ArchivedTask struct {
	TaskID string
	At     time.Time // to the second
}

// ArchivedTasks reads the archived tasks of all queues, including queues that other programs' workers serve. Its
// methods are safe for concurrent use.
//
// Errors: domain.CodeUnavailable if Redis cannot be reached.
type ArchivedTasks interface {
	// Queues returns the names of all queues.
	Queues(ctx context.Context) ([]string, error)

	// Archived returns tasks of a queue that were archived at the given time or later, oldest first. Of these it
	// leaves out as many as the parameter skip says, and returns up to limit of the others.
	Archived(ctx context.Context, queue string, from time.Time, skip, limit int) ([]ArchivedTask, error)

	// Failure reads how an archived task failed. Errors: domain.CodeNotFound if the task is no longer archived.
	Failure(ctx context.Context, queue, taskID string) (domain.FailedTask, error)
}
