package queued

import (
	"context"
	"fmt"
	"regexp"
	"time"
)

// TaskRef names a task.
type TaskRef struct{ Queue, TaskID string }

// FailingTask is a task that failed and waits to be tried again.
type FailingTask struct {
	TaskRef
	Type string
	// Failed is how many failed attempts count toward the maximum. Attempts is how many attempts the task has in
	// all. 0 means that Redis does not have that number, as with a delivery.
	Failed, Attempts int
	Error            string    // of the last attempt, cut to FailingErrorBytes
	FailedAt         time.Time // to the second; zero: not known
	NextAt           time.Time // to the second
	// Unhandled says that the last worker that took the task had no handler for its type.
	Unhandled bool
}

// FailingErrorBytes is how many bytes of a failing task's error are read.
const FailingErrorBytes = 1000

// Describe says in words how the task is failing, as the rest of a sentence that begins with the event.
func (t *FailingTask) Describe() string {
	attempts := "its task failed"
	switch {
	case t.Unhandled:
		attempts = "the worker that took it has no handler for its type"
	case t.Failed > 0 && t.Attempts > 0:
		attempts = fmt.Sprintf("attempt %d of %d failed", t.Failed, t.Attempts)
	case t.Failed > 0:
		attempts = fmt.Sprintf("attempt %d failed", t.Failed)
	}
	said := "failing: " + attempts
	if !t.NextAt.IsZero() {
		said += ", the next one is at " + t.NextAt.UTC().Format(time.DateTime) + " UTC"
	}
	if t.Error != "" && !t.Unhandled {
		said += ": " + t.Error
	}
	return said
}

// FailingGroup counts the failing tasks of one type and queue whose errors have the same ErrorForm.
type FailingGroup struct {
	Type, Queue string
	ErrorForm   string // as ErrorForm returns it
	Error       string // of one of them
	Unhandled   bool
	Tasks       int64
	Next        time.Time // the soonest next attempt
	// Left is the smallest number of attempts that a task of the group has left. Tasks without a known number of
	// attempts do not count. 0: no task has a known number.
	Left int
}

// FailingSummary counts all failing tasks by group, largest group first.
type FailingSummary struct {
	Tasks  int64 // altogether
	Groups []FailingGroup
	// Estimated says that there are too many tasks to read all. The groups then come from a sample, and their
	// counts are estimates.
	Estimated bool
}

// FailingTasks reads and changes the tasks that failed and wait to be tried again.
// Its methods leave out the queues whose keys Redis does not let outboxd use, and are safe for concurrent use.
//
// Errors: domain.CodeUnavailable if Redis cannot be reached.
type FailingTasks interface {
	// Failing returns those of the given tasks that are failing, by task ID.
	Failing(ctx context.Context, tasks []TaskRef) (map[string]FailingTask, error)

	// All returns up to limit failing tasks of each queue, in the order of their next attempts. The result more says
	// that a queue has further failing tasks.
	All(ctx context.Context, limit int) (tasks []TaskRef, more bool, err error)

	// Summary groups the failing tasks of all queues. Its work is bounded.
	Summary(ctx context.Context) (FailingSummary, error)

	// Retry makes failing tasks due now, and returns the tasks that it changed. It changes no count of attempts.
	Retry(ctx context.Context, tasks []TaskRef) ([]TaskRef, error)

	// Archive moves failing tasks to Asynq's archive, and returns the tasks that it moved. Workers no longer take
	// these tasks; their events are not dead letters yet.
	Archive(ctx context.Context, tasks []TaskRef) ([]TaskRef, error)
}

// varying matches the parts of an error that differ between events.
var varying = regexp.MustCompile(`[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9]+`)

// errorFormLength is in characters. The groups of dead letters use the same length.
const errorFormLength = 300

// ErrorForm returns an error text with # in place of each UUID and each run of digits, cut to errorFormLength. Errors
// that differ only in these have the same form.
func ErrorForm(text string) string {
	form := []rune(varying.ReplaceAllString(text, "#"))
	return string(form[:min(len(form), errorFormLength)])
}
