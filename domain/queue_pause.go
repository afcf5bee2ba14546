package domain

import "context"

// QueuePauses stops queues, and lets them go on. Its methods are safe for concurrent
// use.
//
// Errors: CodeConflict if the queue is in that state already, CodeUnavailable.
type QueuePauses interface {
	// Pause lets no worker take a task of the queue. What a worker has begun, it
	// finishes. Errors: CodeNotFound too.
	Pause(ctx context.Context, queue string) error

	// Resume ends a pause, whoever began it.
	Resume(ctx context.Context, queue string) error
}
