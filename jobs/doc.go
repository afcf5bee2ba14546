// Package jobs is what outboxd has to do with Asynq and its Redis. It has no code
// itself; its packages are rooms of their own:
//
//   - publish enqueues events as Asynq's tasks. It is the relay's side.
//   - work runs the tasks, exactly once against the database. It is the worker's side.
//   - broker is what both know of Redis.
//   - lookup finds single tasks, inspect looks at Redis as a whole.
//   - deliver sends events to receivers over HTTP.
//
// None of them knows how events are stored: they meet the database through the
// interfaces of domain.
package jobs
