package broker

import "strings"

// QueuesKey is a set with the names of all queues. It and the keys below are
// Asynq's, from its package internal/base. Braces keep the keys of a queue in one
// slot of a cluster.
const QueuesKey = "asynq:queues"

// QueuePrefix returns the prefix of all keys of a queue.
func QueuePrefix(queue string) string { return "asynq:{" + queue + "}:" }

// QueueOf returns the queue of a key such as asynq:{default}:pending.
func QueueOf(key string) string {
	_, rest, _ := strings.Cut(key, "{")
	queue, _, _ := strings.Cut(rest, "}")
	return queue
}

// TaskPrefix returns the prefix of the keys of a queue's tasks.
func TaskPrefix(queue string) string { return QueuePrefix(queue) + "t:" }

// TaskKey is a hash with a task's message and state.
func TaskKey(queue, taskID string) string { return TaskPrefix(queue) + taskID }

// PendingKey is a list of task IDs. Tasks are added at its left end and taken from its right
// end.
func PendingKey(queue string) string { return QueuePrefix(queue) + "pending" }

// ActiveKey is a list of the IDs of running tasks.
func ActiveKey(queue string) string { return QueuePrefix(queue) + "active" }

// LeaseKey is a sorted set of active tasks by the end of their lease.
func LeaseKey(queue string) string { return QueuePrefix(queue) + "lease" }

// ScheduledKey is a sorted set of tasks for later, by their time.
func ScheduledKey(queue string) string { return QueuePrefix(queue) + "scheduled" }

// RetryKey is a sorted set of failed tasks, by the time of their next attempt.
func RetryKey(queue string) string { return QueuePrefix(queue) + "retry" }

// ArchivedKey is a sorted set of tasks that were given up, by the time of that.
func ArchivedKey(queue string) string { return QueuePrefix(queue) + "archived" }

// PausedKey exists while the queue is paused.
func PausedKey(queue string) string { return QueuePrefix(queue) + "paused" }

// ShardProbeKey is written by a probe of the node that has a queue.
func ShardProbeKey(queue string) string { return QueuePrefix(queue) + "outboxd:probe" }

// outboxd's keys begin like Asynq's, for users that may write no other keys.
const (
	// ProbeKey is written by a probe.
	ProbeKey = "asynq:{outboxd}:probe"
	// leftKey is a hash from queues to the task at their head that no worker
	// takes.
	leftKey = "asynq:{outboxd}:left"
)

// CanaryKey never expires: if it is gone, Redis has lost data.
func CanaryKey(name string) string { return "asynq:{outboxd}:canary:" + name }
