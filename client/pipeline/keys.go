package pipeline

import (
	"slices"
	"strings"
)

// The keys of a queue are Asynq's, by its package internal/base.
func queuePrefix(queue string) string { return "asynq:{" + queue + "}:" }

func pendingKey(queue string) string { return queuePrefix(queue) + "pending" }

func taskPrefix(queue string) string { return queuePrefix(queue) + "t:" }

// takingKeys are the keys of Asynq's script that takes a task.
func takingKeys(queue string) []string {
	prefix := queuePrefix(queue)
	return []string{prefix + "pending", prefix + "paused", prefix + "active", prefix + "lease"}
}

// queueOf returns the queue of a key such as asynq:{default}:pending.
func queueOf(key string) string {
	_, rest, _ := strings.Cut(key, "{")
	queue, _, _ := strings.Cut(rest, "}")
	return queue
}

// takesTask tells by its keys whether a script is the one by which Asynq takes a
// task: no other asks whether the queue is paused.
func takesTask(keys []string) bool { return len(keys) == 4 && strings.HasSuffix(keys[1], ":paused") }

// endsRun tells by its keys whether a script ends a task's run: done, completed, to
// be tried again, archived or given back. No other has the keys of the active tasks
// and of the leases.
func endsRun(keys []string) bool { return hasSuffix(keys, ":active") && hasSuffix(keys, ":lease") }

// forwardsTasks tells by its keys whether a script moves tasks whose time has come
// to where they are taken from.
func forwardsTasks(keys []string) bool {
	return len(keys) == 2 && strings.HasSuffix(keys[1], ":pending") &&
		(strings.HasSuffix(keys[0], ":scheduled") || strings.HasSuffix(keys[0], ":retry"))
}

func hasSuffix(keys []string, suffix string) bool {
	return slices.ContainsFunc(keys, func(key string) bool { return strings.HasSuffix(key, suffix) })
}
