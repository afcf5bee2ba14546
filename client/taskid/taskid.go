// Package taskid distinguishes the tasks of events from those of other programs on the same
// Redis. The consumers of services and outboxd's own worker share the rule.
package taskid

import (
	"strconv"
	"strings"

	"outboxd/client"
	"outboxd/client/acknowledge"
)

// Read returns the event of a task, and the event's generation, from what Asynq knows of
// the task: its ID, its headers and the number of its attempt, from 1. Read returns false
// if the task is another program's. A task is another program's if its ID is not that of
// an event. A task on its first attempt is also another program's if Asynq chose its ID
// and the task lacks the header of outboxd's relay. If another program gives a task a UUID
// of another version than 4, the task counts as an event's.
func Read(task string, headers map[string]string, attempt int) (event client.ID, generation int, ok bool) {
	event, generation, ok = parse(task)
	if _, marked := headers[acknowledge.Header]; ok && !marked && isAsynqs(event, generation, attempt) {
		return client.ID{}, 0, false
	}
	return event, generation, ok
}

// isAsynqs reports whether the task's ID is such as Asynq chooses, a UUID of version 4, and no
// attempt of the task was charged yet. Only then Read requires the relay's header, although the
// tasks of events have it at first. A worker with an Asynq before 0.26 drops all headers when a
// task fails there, and the event must not die of that. If that worker charges no attempt for the
// failure, the task looks like another program's: Asynq shows a handler nothing else of the task.
func isAsynqs(event client.ID, generation, attempt int) bool {
	return event[6]>>4 == 4 && generation == 0 && attempt == 1
}

// parse splits a task's ID into the event's ID and the event's generation.
func parse(task string) (client.ID, int, bool) {
	text, suffix, replayed := strings.Cut(task, ".")
	id, err := client.ParseID(text)
	if err != nil || id.IsZero() {
		return client.ID{}, 0, false
	}
	if !replayed {
		return id, 0, true
	}
	n, err := strconv.Atoi(suffix)
	if err != nil || n < 1 || strconv.Itoa(n) != suffix {
		return client.ID{}, 0, false
	}
	return id, n, true
}
