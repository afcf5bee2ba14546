// Package work runs Asynq's tasks, exactly once against the database: it takes the
// tasks that it has handlers for, carries them out inside the inbox's
// transaction, and decides what becomes of those that fail. What carries out which
// type is for the caller to say.
//
// It enqueues nothing. Which events take effect is decided in repository, which
// implements domain.Inbox.
package work
