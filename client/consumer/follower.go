package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hibiken/asynq"

	"outboxd/client"
)

// A follower is a held event. Its owner is the event of the batch that has the turn of the
// same ordering key. The follower can take effect in the same transaction, after the owner,
// and has no task. Its type and its queue are those of the batch.
type follower struct {
	Owner   client.ID         `json:"owner"`
	ID      client.ID         `json:"id"`
	Payload []byte            `json:"payload"`
	Headers map[string]string `json:"headers"`
}

func readFollowers(text string) (list []follower, err error) {
	if text == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("read the next events of ordering keys: %w", err)
	}
	return list, nil
}

// event returns what a handler learns about the follower of an event of the batch.
func (f follower) event(owner Event) Event {
	return Event{ID: f.ID, Type: owner.Type, Queue: owner.Queue, Headers: f.Headers, outbox: owner.outbox, Attempt: 1, Attempts: owner.Attempts}
}

// followers has the followers of each event of a batch, by that event's ID, in the order in which they take effect.
type followers map[client.ID][]follower

func byOwner(list []follower) followers {
	of := followers{}
	for _, f := range list {
		of[f.Owner] = append(of[f.Owner], f)
	}
	return of
}

// behind returns the followers of an event, and their payloads. It stops before a payload that
// cannot be decoded: the event with that payload later gets a task of its own, and becomes a dead
// letter.
func behind[T any](owner Event, list []follower) (events []Event, payloads []T) {
	for _, f := range list {
		payload, err := decode[T](asynq.NewTaskWithHeaders(owner.Type, f.Payload, f.Headers))
		if err != nil {
			break
		}
		events, payloads = append(events, f.event(owner)), append(payloads, payload)
	}
	return events, payloads
}

const endRunSQL = `SELECT pg_catalog.count(*) FROM %s.outbox_end_run($1::pg_catalog.text::pg_catalog._uuid)`

func (o *origin) endRun(ctx context.Context, row func(context.Context, string, ...any) Row, followers []Event) error {
	schema, err := o.schema.find(ctx, row)
	if err != nil {
		return err
	}
	var n int
	if err := row(ctx, fmt.Sprintf(endRunSQL, schema), array(followers)).Scan(&n); err != nil {
		return fmt.Errorf("confirm the next events of ordering keys: %w", err)
	}
	return nil
}

func (r *remote) endRun(context.Context, func(context.Context, string, ...any) Row, []Event) error {
	return errors.New("a remote consumer has no followers")
}
