package queued

import (
	"context"
	"fmt"
	"time"

	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/domain/words"
)

// TaskState is the state of one task in Redis.
type TaskState struct {
	TaskID      string
	Queue       string
	State       string // active, pending, scheduled, retry, archived, completed or StateStranded
	Retried     int
	MaxRetry    int
	LastError   string
	NextAt      time.Time // when it runs next; zero: not scheduled
	CompletedAt time.Time
	// Unhandled says that the last worker that took the task had no handler for its type.
	Unhandled bool
}

// StateStranded is the state of a task whose hash is in Redis, but in none of Asynq's
// lists. No worker can take it.
const StateStranded = "stranded"

// StateRetry is the state of a task that failed and waits to be tried again.
const StateRetry = "retry"

// Failing converts the task to a FailingTask.
func (t *TaskState) Failing() FailingTask {
	f := FailingTask{TaskRef: TaskRef{t.Queue, t.TaskID}, Failed: t.Retried, Attempts: t.MaxRetry + 1, Error: t.LastError, NextAt: t.NextAt, Unhandled: t.Unhandled}
	if _, delivery := setup.SubscriptionOfQueue(t.Queue); delivery {
		f.Attempts = 0
	}
	return f
}

// Retries returns in words how often the task was retried, and its maximum number of retries. For a delivery the
// subscription sets the maximum, so Retries does not show Asynq's.
func (t *TaskState) Retries() string {
	if _, delivery := setup.SubscriptionOfQueue(t.Queue); delivery {
		return words.Many(t.Retried, "failed attempt")
	}
	return fmt.Sprintf("%d of %d retries", t.Retried, t.MaxRetry)
}

// Describe returns the rest of a sentence whose subject is the task.
func (t *TaskState) Describe() string {
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
	case StateRetry:
		return "failed and waits to be tried again" + because
	case "archived":
		return "was archived" + because
	case StateStranded:
		return TaskStranded.String()
	default:
		return "is " + t.State
	}
}

// TaskStates reads the tasks of events from Redis. It is safe for concurrent use.
type TaskStates interface {
	// Tasks returns an event's tasks, newest generation first: those of its generation
	// and of the twenty generations before. If there are none, Tasks returns an empty
	// slice, not nil. Tasks looks in the event's queue, or in all queues if Queue is "".
	//
	// Errors: domain.CodeUnavailable if Redis cannot be reached, or does not let outboxd use the keys of one of these
	// queues.
	Tasks(ctx context.Context, event *domain.Event) ([]TaskState, error)
}

// UnfinishedTasks says whether events still have unfinished tasks. It is safe
// for concurrent use.
type UnfinishedTasks interface {
	// Unfinished reports for each event whether any queue has an unfinished task of it. Unfinished looks for the
	// event's present generation and the twenty generations before. Unfinished reads only ID and Generation of the
	// event.
	//
	// It leaves out the queues whose keys Redis does not let outboxd use: no relay with the same rights has put a
	// task there, and other programs may have queues in the same Redis.
	//
	// Errors: domain.CodeUnavailable.
	Unfinished(ctx context.Context, events []domain.Event) ([]bool, error)
}
