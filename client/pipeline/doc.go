// Package pipeline lets an Asynq server take and finish tasks in fewer round trips to Redis.
//
// An Asynq server takes one task at a time, from one goroutine, and waits for Redis each time. Each
// worker goroutine waits for Redis again when its task has ended. A Client is the Redis client for
// such a server. In one round trip the Client takes up to as many tasks as the server has free
// worker slots, and then hands them out one by one. The Client also sends the scripts that finish
// tasks: several of them in one pipeline, if they come together. These scripts are Asynq's own.
// Queues, leases, retries, archive and groups work as before, and plain Asynq workers may serve the
// same queues.
//
//   - A Client takes only as many tasks as the server has free worker slots. Tasks that are not
//     handed out go back to the heads of their queues, a second after the last ones were taken, or
//     when the server stops. If the process dies, Asynq recovers them one to two minutes later,
//     like every other task.
//   - Each command gets its own answer. If the connection fails, the result is unknown, and Asynq
//     gets an error. If the answer with taken tasks was lost, the next request finds these tasks.
//   - While all queues are empty, a poll costs Redis one command (in a cluster one for each queue).
//     The bell of package bell starts the next poll at once.
package pipeline
