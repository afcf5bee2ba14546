// Package jobs publishes and works: the publisher enqueues events as Asynq's
// tasks, and the worker runs the tasks exactly once against the database. Who
// carries out which type is for the caller to say.
//
// It knows nothing of how events are stored; it meets the database through the
// interfaces of domain. What Redis is to it is in package broker.
package jobs
