// Package jobs is outboxd's side of Asynq and its Redis. It has no code itself, only
// packages:
//
//   - publish enqueues events as Asynq's tasks. It is the relay's side.
//   - work runs the tasks, exactly once against the database. It is the worker's
//     side.
//   - broker is the common knowledge of Redis.
//   - lookup finds single tasks, and inspect looks at Redis as a whole.
//   - deliver sends events to receivers over HTTP.
//
// None of them knows how events are stored: they use the database through the
// interfaces of domain.
package jobs
