// Package publish enqueues events as Asynq's tasks, and understands Redis's
// answers: whether it has each event, whether it has lost some, and which Redis
// it is. It also reads the acknowledgements of other consumers. All of this
// serves the relay.
//
// It runs no tasks. Package relay decides when an event is published.
package publish
