package domain

import "context"

// TaskPresence says whether the queue will still run an event's task.
type TaskPresence uint8

// What a look into the queue can find.
const (
	TaskMissing    TaskPresence = iota // the queue does not know the task
	TaskStranded                       // the queue has remains of the task, which no worker will ever find
	TaskUnfinished                     // the task waits, runs or will be tried again
	TaskCompleted                      // the task is done, and kept
	TaskArchived                       // the task was given up, and kept
)

// Lost reports whether the queue will never run the task, and has no record
// that it ran.
func (p TaskPresence) Lost() bool { return p == TaskMissing || p == TaskStranded }

// String completes a sentence that begins with the task.
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
	// Remove deletes the tasks of events. It reads only the ID, queue and
	// generation of each event, and reports for each whether no task is left. A
	// running task stays.
	//
	// Errors: CodeUnavailable.
	Remove(ctx context.Context, events []Event) ([]bool, error)
}

// TaskFinder looks tasks up in the queue. It is safe for concurrent use.
type TaskFinder interface {
	// Look reports for each event where the task of its generation is. It
	// changes nothing.
	//
	// In a long queue it infers from a task's time that the task still waits.
	// If somebody removed the task from the middle of its queue, that is
	// noticed when the tasks before it have gone.
	//
	// Errors: CodeUnavailable; QueueOutages with that code if some queues of the
	// events cannot be used.
	Look(ctx context.Context, events []Event) ([]TaskPresence, error)
}
