// Package jobs has the packages that work with Asynq and its Redis. The packages are:
//
//   - publish enqueues events as Asynq tasks, for the relay.
//   - work runs the tasks, for the worker. A task's effect on the database happens
//     exactly once.
//   - broker has what the other packages share about Redis.
//   - lookup finds single tasks, inspect looks at Redis as a whole, and retries lists and
//     changes failed tasks.
//   - pauses pauses queues and resumes them.
//   - deliver sends events to receivers over HTTP.
//   - registration has the example's task, which sends notifications.
//   - answer reads the answers of mail servers and HTTP servers, and span has what the
//     spans of tasks share. jobstest has helpers for tests.
//
// None of these packages knows how events are stored: they use the database through the
// interfaces of package domain.
package jobs
