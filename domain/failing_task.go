package domain

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
	// Failed is how many attempts failed and were charged. Attempts is how many
	// there are altogether; 0: the queue does not know, as with a delivery.
	Failed, Attempts int
	Error            string    // of the last attempt, cut to FailingErrorBytes
	FailedAt         time.Time // to the second; zero: not known
	NextAt           time.Time // to the second
	// Unhandled says that the worker which took the task had no handler for it.
	Unhandled bool
}

// FailingErrorBytes is how much of a failing task's error is read.
const FailingErrorBytes = 1000

// Describe completes a sentence that begins with the event.
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

// FailingGroup is the failing tasks of one type and queue with the same error, apart
// from IDs and numbers in it.
type FailingGroup struct {
	Type, Queue string
	ErrorForm   string // as ErrorForm returns it
	Error       string // of one of them
	Unhandled   bool
	Tasks       int64
	Next        time.Time // the soonest next attempt
}

// FailingSummary is all failing tasks, by group, the largest group first.
type FailingSummary struct {
	Tasks  int64 // altogether
	Groups []FailingGroup
	// Estimated says that there are too many to read all. The groups then are those
	// of a sample, and their counts are estimates.
	Estimated bool
}

// FailingTasks reads and changes the tasks that failed and wait to be tried again.
// Its methods are safe for concurrent use.
//
// Errors: CodeUnavailable if the queue cannot be reached.
type FailingTasks interface {
	// Failing returns those of the named tasks that are failing, by their IDs.
	Failing(ctx context.Context, tasks []TaskRef) (map[string]FailingTask, error)

	// All names up to limit failing tasks of each queue, those that are due first at
	// the beginning. more says that there are others.
	All(ctx context.Context, limit int) (tasks []TaskRef, more bool, err error)

	// Summary groups the failing tasks of all queues. Its work is bounded.
	Summary(ctx context.Context) (FailingSummary, error)

	// Retry makes failing tasks due now, and returns those that were failing. Their
	// attempts stay as they are.
	Retry(ctx context.Context, tasks []TaskRef) ([]TaskRef, error)

	// Archive gives failing tasks up, and returns those that were failing. A worker
	// takes none of them after that; their events are not dead letters yet.
	Archive(ctx context.Context, tasks []TaskRef) ([]TaskRef, error)
}

// varying matches the parts of an error that differ between events.
var varying = regexp.MustCompile(`[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9]+`)

// errorFormLength is in characters. It is that of the dead letters' groups.
const errorFormLength = 300

// ErrorForm returns an error with # for each ID and number, cut. Errors of the same
// cause have the same form.
func ErrorForm(text string) string {
	form := []rune(varying.ReplaceAllString(text, "#"))
	return string(form[:min(len(form), errorFormLength)])
}
