package domain

import "context"

// QueuePauses stops queues, and lets them go on. Its methods are safe for concurrent
// use.
//
// Errors: CodeConflict if Pause finds the queue paused, or if Resume finds it not paused;
// CodeUnavailable if Redis cannot be reached.
type QueuePauses interface {
	// Pause stops all workers from taking tasks of the queue. A worker finishes the tasks
	// that it has begun. If the parameter known is true, Pause accepts a queue that Redis
	// does not know yet. Errors: CodeNotFound too.
	Pause(ctx context.Context, queue string, known bool) error

	// Resume ends a pause, whoever began it.
	Resume(ctx context.Context, queue string) error

	// Paused returns those of the queues that are paused now, whoever paused them, in the given order.
	Paused(ctx context.Context, queues []string) ([]string, error)
}
