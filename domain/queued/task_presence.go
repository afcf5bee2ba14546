package queued

import (
	"context"

	"outboxd/domain"
)

// TaskPresence says whether a worker will still run an event's task.
type TaskPresence uint8

// The possible states of a task in Redis.
const (
	TaskMissing    TaskPresence = iota // the queue does not know the task
	TaskStranded                       // the queue has remains of the task, which no worker will ever find
	TaskUnfinished                     // the task waits, runs or will be tried again
	TaskCompleted                      // the task is done, and kept
	TaskArchived                       // the task was given up, and kept
)

// Lost reports whether no worker will ever run the task and Redis has no record that a worker ran it.
func (p TaskPresence) Lost() bool { return p == TaskMissing || p == TaskStranded }

// String returns the rest of a sentence whose subject is the task.
func (p TaskPresence) String() string {
	switch p {
	case TaskMissing:
		return "is not in Redis any more"
	case TaskStranded:
		return "is not in Redis any more, except for remains that no worker finds"
	case TaskUnfinished:
		return "is in Redis"
	case TaskCompleted:
		return "is completed, and nobody confirmed it"
	case TaskArchived:
		return "was archived"
	default:
		return "is in a state that is not known"
	}
}

// TaskRemover deletes tasks. It is safe for concurrent use.
type TaskRemover interface {
	// Remove deletes the tasks of events: those of the event's generation and of the twenty generations before.
	// Remove reads only ID, Queue and Generation of each event. The result is true for an event that has no task
	// left. A running task is not deleted.
	//
	// Errors: domain.CodeUnavailable.
	Remove(ctx context.Context, events []domain.Event) ([]bool, error)
}

// TaskFinder looks up tasks in Redis. It is safe for concurrent use.
type TaskFinder interface {
	// Look searches Redis for the task of each event's present generation, and returns the state of each task. It
	// changes nothing.
	//
	// If tasks at the head of the list were enqueued before a task, Look concludes that this task still waits, and
	// does not search the list for it. If somebody removed a task from the middle of the list, Look therefore
	// notices that only when the tasks before it are gone.
	//
	// Errors: domain.CodeUnavailable if Redis cannot be reached; domain.QueueOutages with that code if only some
	// queues of the events cannot be used.
	Look(ctx context.Context, events []domain.Event) ([]TaskPresence, error)
}
