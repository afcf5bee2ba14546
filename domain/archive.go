package domain

import (
	"context"
	"time"
)

// ArchivedTask is a task that the queue gave up, or that a person archived
// there.
type ArchivedTask struct {
	TaskID string
	At     time.Time // to the second
}

// ArchivedTasks reads the archived tasks of all queues, also of queues that
// other workers serve. Its methods are safe for concurrent use.
//
// Errors: CodeUnavailable if the queue cannot be reached.
type ArchivedTasks interface {
	// Queues returns the names of all queues.
	Queues(ctx context.Context) ([]string, error)

	// Archived returns up to limit tasks of a queue that were archived at from
	// or later, the oldest first, without the first skip of them.
	Archived(ctx context.Context, queue string, from time.Time, skip, limit int) ([]ArchivedTask, error)

	// Failure reads how an archived task failed. Errors: CodeNotFound if it is
	// no longer archived.
	Failure(ctx context.Context, queue, taskID string) (FailedTask, error)
}
