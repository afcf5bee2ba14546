// Package work runs Asynq tasks, with exactly-once changes in the database. A worker takes tasks for which it has a
// handler, runs each inside the inbox's transaction, and decides what happens to failed tasks. The caller chooses
// the handler of each task type.
//
// Package work enqueues nothing. Package repository, which implements domain.Inbox, decides which events take effect.
package work
