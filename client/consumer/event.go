package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/hibiken/asynq"

	"outboxd/client"
	"outboxd/client/acknowledge"
)

// ErrNotAnEvent is the error for a task whose ID is not the ID of an event, because
// another program enqueued the task. It wraps asynq.SkipRetry.
var ErrNotAnEvent = fmt.Errorf("the task was not relayed from the outbox: %w", asynq.SkipRetry)

// Event has everything about an event except its payload.
type Event struct {
	// ID is the event's ID; zero for a task that does not come from an outbox. Send
	// the ID along with effects outside the database, so that their receivers can
	// recognise a repeat.
	ID client.ID
	// Replay is the event's generation. A replay raises it, and so can a reschedule.
	Replay int
	Type   string
	Queue  string
	// Headers are the event's headers, with the headers of its trace.
	Headers map[string]string
	// outbox identifies the outbox that the task came from. The acknowledgement returns it.
	outbox string
	// Attempt is the number of this attempt, from 1 to Attempts. If the last
	// attempt fails, the event becomes a dead letter.
	Attempt, Attempts int
}

type eventKey struct{}

// EventOf returns the event whose payload a handler of this package got. Outside of
// a handler it is zero.
func EventOf(ctx context.Context) Event {
	event, _ := ctx.Value(eventKey{}).(Event)
	return event
}

// readEvent reads the event of a task. Every error that readEvent returns for the
// context of a task is ErrNotAnEvent; the returned event then has no ID.
func readEvent(ctx context.Context, task *asynq.Task) (Event, error) {
	name, inside := asynq.GetTaskID(ctx)
	if !inside {
		return Event{}, errors.New("this is not the context of a task")
	}
	retried, _ := asynq.GetRetryCount(ctx)
	limit, _ := asynq.GetMaxRetry(ctx)
	queue, _ := asynq.GetQueueName(ctx)
	event := Event{Type: task.Type(), Queue: queue, Headers: task.Headers(), Attempt: retried + 1, Attempts: limit + 1}
	if mark, marked := event.Headers[acknowledge.Header]; marked {
		event.outbox, event.Headers = mark, maps.Clone(event.Headers)
		delete(event.Headers, acknowledge.Header)
	}
	var err error
	event.ID, event.Replay, err = readTaskID(name)
	return event, err
}

// readTaskID splits a task's ID into the event's ID and the event's generation.
func readTaskID(name string) (client.ID, int, error) {
	text, replay, replayed := strings.Cut(name, ".")
	id, err := client.ParseID(text)
	if err != nil {
		return client.ID{}, 0, fmt.Errorf("%.60q: %w", name, ErrNotAnEvent)
	}
	count := 0
	if replayed {
		if count, err = strconv.Atoi(replay); err != nil || count < 0 {
			return client.ID{}, 0, fmt.Errorf("%.60q: %w", name, ErrNotAnEvent)
		}
	}
	return id, count, nil
}
