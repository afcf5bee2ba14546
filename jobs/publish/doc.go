// Package publish enqueues events as Asynq tasks, and interprets the answers of Redis: whether Redis has each
// event, whether it has lost events, and whether it is still the same Redis. The package also reads the
// acknowledgements of consumers with another database. The relay uses all of this.
//
// Package publish runs no tasks. Package relay decides when an event is published.
package publish
