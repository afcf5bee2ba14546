package domain

import (
	"context"
	"time"
)

// TaskState is what the queue knows of one task.
type TaskState struct {
	TaskID      string
	Queue       string
	State       string // active, pending, scheduled, retry, archived, completed or StateStranded
	Retried     int
	MaxRetry    int
	LastError   string
	NextAt      time.Time // when it runs; zero: not planned
	CompletedAt time.Time
}

// StateStranded is the state of a task of which the queue has only remains.
const StateStranded = "stranded"

// describe completes a sentence that begins with the task.
func (t *TaskState) describe() string {
	because := ""
	if t.LastError != "" {
		because = ": " + t.LastError
	}
	switch t.State {
	case "active":
		return "is being carried out"
	case "pending":
		return "waits for a worker"
	case "scheduled":
		return "waits for its time"
	case "retry":
		return "did not succeed and waits to be tried again" + because
	case "archived":
		return "was archived" + because
	case StateStranded:
		return TaskStranded.String()
	default:
		return "is " + t.State
	}
}

// TaskStates tells what the queue knows of events. It is safe for concurrent
// use.
type TaskStates interface {
	// Tasks returns an event's tasks, the newest generation first; none is an
	// empty slice, not nil. It looks in the event's queue or, where that is
	// empty, in all.
	//
	// Errors: CodeUnavailable if the queue cannot be reached.
	Tasks(ctx context.Context, event *Event) ([]TaskState, error)
}

// UnfinishedTasks tells what the queue has still to do. It is safe for
// concurrent use.
type UnfinishedTasks interface {
	// Unfinished reports for each event, of which only the ID and the generation
	// count, whether the queue has a task of it that is not done and not given
	// up: of its generation or one of the twenty before, in whatever queue.
	//
	// Errors: CodeUnavailable.
	Unfinished(ctx context.Context, events []Event) ([]bool, error)
}
