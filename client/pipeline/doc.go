// Package pipeline lets Asynq's server take and finish tasks in few round trips.
//
// Asynq's server takes one task at a time, from one goroutine, and waits for Redis
// each time. Each of its workers waits for Redis again when its task has ended. A
// Client is the Redis client for such a server. In one round trip it takes as many
// tasks as there are free places, and then hands them out one by one. It sends the
// endings of several tasks in one pipeline. Nothing else changes: Asynq's own
// scripts finish tasks; queues, leases, retries, archive and groups stay Asynq's;
// and plain Asynq workers may serve the same queues.
//
//   - A Client takes only as many tasks as it has free places. A task that was not
//     handed out within a second goes back to the head of its queue, also when the
//     server stops. If the process dies, Asynq's recovery of leases brings the
//     task back, like every other task.
//   - Each command gets its own answer. If the connection fails, the result is
//     unknown, and Asynq gets an error. If the answer to a take was lost, the next
//     take finds its tasks.
//   - While all queues are empty, a look costs Redis one command, and the bell of
//     package bell starts the next look at once.
package pipeline
