// Package pauses pauses queues in Redis and resumes them, as Asynq's own tools do: no
// worker takes a task of a paused queue.
package pauses
