// Package publish enqueues events as Asynq's tasks, and knows what Redis answers
// to that: whether it has each event, whether it lost some, which Redis it is. It
// also reads what consumers of others acknowledge there. All of this serves the
// relay.
//
// It runs no task. When an event is published, again or for the first time, is
// decided in relay.
package publish
