package domain

import (
	"context"
	"time"
)

// ArchivedTask is a task that the queue itself gave up, or that a person did
// there.
type ArchivedTask struct {
	TaskID string
	At     time.Time // to the second
}

// ArchivedTasks are those of all queues, whoever serves them. Its methods are
// safe for concurrent use.
//
// Errors: CodeUnavailable if the queue cannot be reached.
type ArchivedTasks interface {
	// Queues returns the names of all queues.
	Queues(ctx context.Context) ([]string, error)

	// Archived returns up to limit tasks of a queue that were archived at from
	// or later, the oldest first, without the first skip of them.
	Archived(ctx context.Context, queue string, from time.Time, skip, limit int) ([]ArchivedTask, error)

	// Failure reads what became of an archived task. Errors: CodeNotFound if
	// it is not archived any more.
	Failure(ctx context.Context, queue, taskID string) (FailedTask, error)
}
