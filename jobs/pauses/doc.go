// Package pauses stops queues in Redis and lets them go on, as Asynq's own tools do: no
// worker takes a task of a paused queue.
package pauses
