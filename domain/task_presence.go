package domain

import "context"

// TaskPresence says whether the queue will still do something about an event.
type TaskPresence uint8

// What a look into the queue can find. The zero value is that it has nothing.
const (
	TaskMissing    TaskPresence = iota // the queue does not know the task
	TaskStranded                       // it has remains of the task that no worker will ever find
	TaskUnfinished                     // the task waits, runs or is tried again
	TaskCompleted                      // the task is done, and kept
	TaskArchived                       // the task was given up, and kept
)

// Lost reports whether the queue will never do the task, and has not done it
// as far as it knows.
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
	// Remove deletes the tasks of events, of which only the ID, the queue and the
	// generation count, and reports for each event whether none is left: a task
	// that runs stays.
	//
	// Errors: CodeUnavailable.
	Remove(ctx context.Context, events []Event) ([]bool, error)
}

// TaskFinder looks tasks up in the queue. It is safe for concurrent use.
type TaskFinder interface {
	// Look reports for each event where the task of its generation is. It
	// changes nothing.
	//
	// That a task waits in a long queue is inferred from when it got there: one
	// that was taken out of the middle of its queue by hand is noticed when the
	// tasks before it have gone.
	//
	// Errors: CodeUnavailable; a *QueueOutage with that code where one of the
	// events' queues cannot be used.
	Look(ctx context.Context, events []Event) ([]TaskPresence, error)
}
