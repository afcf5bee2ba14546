// Package pipeline lets Asynq's server take and finish tasks in few round trips.
//
// Asynq's server takes one task at a time, from one goroutine, and waits for Redis
// in between; and each of its workers waits once more for Redis when its task has
// ended. A Client is the Redis client that the server is given. It takes as many
// tasks as there are free places in one round trip and hands them out one by one,
// and it sends what ends at the same time in one pipeline. Everything else is
// Asynq's: its own scripts finish tasks, its queues, leases, retries, archive and
// groups are what they were, and its workers may serve the same queues.
//
//   - No task is taken that no place is free for. What was taken and not handed
//     out within a second, or when the server stops, goes back to the head of its
//     queue. A process that dies in between leaves it to Asynq's recovery of
//     leases, as every task that it was about to begin.
//   - Each command gets its own answer. Where the connection fails, what became of
//     it is unknown, and Asynq hears so. A task that was taken by a question whose
//     answer was lost is found by the next question.
//   - While all queues are empty a look costs Redis one command, and the bell of
//     package bell begins the next one at once.
package pipeline
