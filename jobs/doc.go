// Package jobs is outboxd's side of Asynq: the publisher that enqueues events,
// the worker that runs their tasks exactly once against the database, and one file
// for each task type.
//
// It knows nothing of how events are stored; it meets the database through the
// interfaces of domain.
package jobs
