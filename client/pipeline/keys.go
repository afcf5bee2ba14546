package pipeline

import "strings"

// The keys of a queue, as in Asynq's package internal/base.
func queuePrefix(queue string) string { return "asynq:{" + queue + "}:" }

func pendingKey(queue string) string { return queuePrefix(queue) + "pending" }

func taskPrefix(queue string) string { return queuePrefix(queue) + "t:" }

// takingKeys are the keys of Asynq's script that takes a task.
func takingKeys(queue string) []string {
	prefix := queuePrefix(queue)
	return []string{prefix + "pending", prefix + "paused", prefix + "active", prefix + "lease"}
}

// queueOf returns the queue of a key such as asynq:{default}:pending, but not of the key of a
// task. A queue's name may have braces itself.
func queueOf(key string) string {
	rest := strings.TrimPrefix(key, "asynq:{")
	if end := strings.LastIndex(rest, "}:"); end >= 0 {
		return rest[:end]
	}
	return ""
}

// takesTask reports whether a script is Asynq's script for taking a task. takesTask
// recognises the script by its keys: no other script reads whether the queue is
// paused.
func takesTask(keys []string) bool { return len(keys) == 4 && strings.HasSuffix(keys[1], ":paused") }

// endsRun reports whether a script ends a task's run, and of which queue: the task is done,
// completed, retried, archived or given back. endsRun recognises the script by two keys side by
// side, those of the active tasks and of the leases. The key of the task, which some scripts
// have first, does not tell the queue, because a task's ID may have braces and colons itself.
// The script for taking a task has both keys too, so callers ask takesTask first.
func endsRun(keys []string) (queue string, ends bool) {
	for i := range len(keys) - 1 {
		if prefix, isActive := strings.CutSuffix(keys[i], "active"); isActive && keys[i+1] == prefix+"lease" {
			return queueOf(keys[i]), true
		}
	}
	return "", false
}

// forwardsTasks reports whether a script is Asynq's script that moves due tasks to
// the pending list. It recognises the script by its keys.
func forwardsTasks(keys []string) bool {
	return len(keys) == 2 && strings.HasSuffix(keys[1], ":pending") &&
		(strings.HasSuffix(keys[0], ":scheduled") || strings.HasSuffix(keys[0], ":retry"))
}
