package broker

import (
	"strings"
	"time"
)

// QueuesKey names a set with the names of all queues. QueuesKey and most of the keys below are
// Asynq's, from its package internal/base.
const QueuesKey = "asynq:queues"

// WorkersKey names a sorted set of keys. Each is the key of a server's hash, whose fields
// are the IDs of the tasks that the server is working on. The scores are the times at
// which the hashes expire, by the servers' clocks. A server writes its hash every 5 s.
const WorkersKey = "asynq:workers"

// QueuePrefix returns the prefix of all keys of a queue. The braces make Redis Cluster keep these
// keys in one slot.
func QueuePrefix(queue string) string { return "asynq:{" + queue + "}:" }

// QueueOf returns the text in the first braces of a key: default for asynq:{default}:pending. A
// Redis Cluster chooses the key's slot by this text.
func QueueOf(key string) string {
	_, rest, _ := strings.Cut(key, "{")
	queue, _, _ := strings.Cut(rest, "}")
	return queue
}

// TaskPrefix returns the prefix of the keys of a queue's tasks.
func TaskPrefix(queue string) string { return QueuePrefix(queue) + "t:" }

// TaskKey returns the key of a hash with a task's message and state.
func TaskKey(queue, taskID string) string { return TaskPrefix(queue) + taskID }

// PendingKey returns the key of a list of task IDs. New tasks are added at the list's
// left end, and tasks are taken from its right end.
func PendingKey(queue string) string { return QueuePrefix(queue) + "pending" }

// ActiveKey returns the key of a list with the IDs of running tasks.
func ActiveKey(queue string) string { return QueuePrefix(queue) + "active" }

// LeaseKey returns the key of a sorted set of running tasks, by the end of their lease.
func LeaseKey(queue string) string { return QueuePrefix(queue) + "lease" }

// ScheduledKey returns the key of a sorted set of tasks that run later, by their time.
func ScheduledKey(queue string) string { return QueuePrefix(queue) + "scheduled" }

// RetryKey returns the key of a sorted set of tasks that wait for a further attempt, by its time.
func RetryKey(queue string) string { return QueuePrefix(queue) + "retry" }

// ArchivedKey returns the key of a sorted set of archived tasks, by the time at which
// they were archived.
func ArchivedKey(queue string) string { return QueuePrefix(queue) + "archived" }

// PausedKey returns a key that exists while the queue is paused.
func PausedKey(queue string) string { return QueuePrefix(queue) + "paused" }

// ProcessedKey returns the key that counts the attempts of a UTC day that succeeded or failed.
func ProcessedKey(queue string, day time.Time) string {
	return QueuePrefix(queue) + "processed:" + day.UTC().Format(time.DateOnly)
}

// FailedKey returns the key that counts the failed attempts of a UTC day.
func FailedKey(queue string, day time.Time) string {
	return QueuePrefix(queue) + "failed:" + day.UTC().Format(time.DateOnly)
}

// ShardProbeKey returns the key that a probe of the queue's node writes.
func ShardProbeKey(queue string) string { return QueuePrefix(queue) + "outboxd:probe" }

// outboxd's own keys begin like Asynq's, so that a Redis user that may write only Asynq's
// keys may write them too.
const (
	// ProbeKey is the key that a probe writes.
	ProbeKey = "asynq:{outboxd}:probe"
	// leftKey is a hash. Its fields are queues whose first task no worker takes; MarkLeft writes the
	// values.
	leftKey = "asynq:{outboxd}:left"
)

// CanaryKey returns the key of a canary: a key that never expires. If it is gone, Redis
// has lost data.
func CanaryKey(name string) string { return "asynq:{outboxd}:canary:" + name }
