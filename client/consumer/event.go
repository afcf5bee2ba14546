package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/hibiken/asynq"

	"outboxd/client"
	"outboxd/client/acknowledge"
	"outboxd/client/taskid"
)

// ErrNotAnEvent is the error for a task of another program; Event.ID says which tasks
// are recognised as such. ErrNotAnEvent wraps asynq.SkipRetry.
var ErrNotAnEvent = fmt.Errorf("the task was not relayed from the outbox: %w", asynq.SkipRetry)

// Event is what a handler learns about an event, besides the payload.
type Event struct {
	// ID is the event's ID, read from the task's ID. Send the ID along with effects
	// outside the database, so that their receivers can recognise a repeat.
	//
	// ID is zero for a task of another program, which handlers get only with
	// Options.PassOthers. A task is another program's if its ID is not that of an
	// event. A task is also another program's if Asynq chose its ID, a UUID of
	// version 4, and the task comes to its first attempt without the header of
	// outboxd's relay. On later attempts such a task counts as an event's, because
	// a worker with an Asynq before 0.26 drops the header when a task fails there. If
	// that worker charges no attempt for the failure (asynq.Config.IsFailure), the task of
	// an event with an ID of version 4 counts as another program's. If another program gives a
	// task a UUID of another version, the task counts as an event's.
	ID client.ID
	// Replay is the event's generation. A replay raises it, and so can a reschedule.
	Replay int
	Type   string
	Queue  string
	// Headers are the event's headers, and those of its trace if it has one.
	Headers map[string]string
	// outbox identifies the outbox that the task came from. The acknowledgement returns it.
	outbox string
	// Attempt is the number of this attempt, from 1 to Attempts. If the last
	// attempt fails (see IsFailure), the event becomes a dead letter.
	Attempt, Attempts int
}

// eventsKey is the key of the events whose payloads a handler got.
type eventsKey struct{}

func withEvents(ctx context.Context, events ...Event) context.Context {
	return context.WithValue(ctx, eventsKey{}, events)
}

// EventsOf returns the events whose payloads a handler of this package got. With
// HandleBatch there may be several. Outside of a handler there is none.
func EventsOf(ctx context.Context) []Event {
	events, _ := ctx.Value(eventsKey{}).([]Event)
	return events
}

// EventOf returns the event whose payload a handler of Handle or HandleTogether got. It
// returns the zero Event outside of a handler, and for a batch of several events; see
// EventsOf.
func EventOf(ctx context.Context) Event {
	if events := EventsOf(ctx); len(events) == 1 {
		return events[0]
	}
	return Event{}
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
	mark, marked := event.Headers[acknowledge.Header]
	if marked {
		event.outbox, event.Headers = mark, maps.Clone(event.Headers)
		delete(event.Headers, acknowledge.Header)
	}
	var ours bool
	if event.ID, event.Replay, ours = taskid.Read(name, task.Headers(), event.Attempt); !ours {
		return event, fmt.Errorf("%.60q: %w", name, ErrNotAnEvent)
	}
	return event, nil
}
