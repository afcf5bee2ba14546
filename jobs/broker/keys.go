package broker

import "strings"

// QueuesKey is a set: the names of all queues. It and the keys below are Asynq's,
// by its package internal/base. Braces keep the keys of a queue in one slot of a
// cluster.
const QueuesKey = "asynq:queues"

// QueuePrefix is how all keys of a queue begin.
func QueuePrefix(queue string) string { return "asynq:{" + queue + "}:" }

// QueueOf returns the queue of a key such as asynq:{default}:pending.
func QueueOf(key string) string {
	_, rest, _ := strings.Cut(key, "{")
	queue, _, _ := strings.Cut(rest, "}")
	return queue
}

// TaskPrefix is how the keys of a queue's tasks begin.
func TaskPrefix(queue string) string { return QueuePrefix(queue) + "t:" }

// TaskKey is a hash: a task with its message and its state.
func TaskKey(queue, taskID string) string { return TaskPrefix(queue) + taskID }

// PendingKey is a list of task IDs. Tasks come in at its left end and are taken from its right.
func PendingKey(queue string) string { return QueuePrefix(queue) + "pending" }

// ActiveKey is a list of the IDs of tasks that run.
func ActiveKey(queue string) string { return QueuePrefix(queue) + "active" }

// LeaseKey is a sorted set: the active tasks by when their lease ends.
func LeaseKey(queue string) string { return QueuePrefix(queue) + "lease" }

// ScheduledKey is a sorted set: the tasks that begin later, by when.
func ScheduledKey(queue string) string { return QueuePrefix(queue) + "scheduled" }

// RetryKey is a sorted set: the tasks that failed, by when they are tried again.
func RetryKey(queue string) string { return QueuePrefix(queue) + "retry" }

// ArchivedKey is a sorted set: the tasks that were given up, by when.
func ArchivedKey(queue string) string { return QueuePrefix(queue) + "archived" }

// PausedKey exists while the queue is paused.
func PausedKey(queue string) string { return QueuePrefix(queue) + "paused" }

// The keys of outboxd lie where Asynq's do, for users who may write nowhere else.
const (
	// ProbeKey is written by a probe.
	ProbeKey = "asynq:{outboxd}:probe"
	// leftKey is a hash of queues to the task that no worker takes from its head.
	leftKey = "asynq:{outboxd}:left"
)

// CanaryKey never expires: where it is gone, Redis has lost data.
func CanaryKey(name string) string { return "asynq:{outboxd}:canary:" + name }
