package consumer_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/hibiken/asynq"

	"outboxd/client"
	"outboxd/client/consumer"
)

// In a database that went back, an event may not take effect before its turn. Its task is not charged for that, nor
// archived on its last attempt.
func TestTasksBeforeTheirTurn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.exec("UPDATE outboxd.outbox_queue_identity SET went_back_at = now()")
	b.serve(consumer.Handle(consumer.New(consumer.SQL(b.db), consumer.Options{}), func(context.Context, *sql.Tx, []byte) error { return nil }))
	emit := func(key string) string { return b.emit(client.Event{Type: "test:effect", OrderingKey: key}) }
	more, last, never := emit("a"), emit("b"), emit("c")
	b.enqueue(more, asynq.MaxRetry(2))
	b.enqueue(last, asynq.MaxRetry(0))
	b.enqueue(never, asynq.MaxRetry(0))
	b.await(more, asynq.TaskStateRetry)
	b.await(last, asynq.TaskStateActive)
	b.exec("INSERT INTO outboxd.outbox_turns (ordering_key, event_id) SELECT ordering_key, id FROM outboxd.outbox WHERE ordering_key IN ('a', 'b')")
	for _, id := range []string{more, last} {
		if task := b.await(id, asynq.TaskStateCompleted); task.Retried != 0 {
			t.Errorf("a task was charged %d attempts", task.Retried)
		}
		if b.count(fmt.Sprintf("SELECT outboxd.outbox_is_confirmed('%s')::int", id)) != 1 {
			t.Errorf("%s did not take effect", id)
		}
	}
	// One whose turn does not come makes room, and is not confirmed.
	eventually(t, "the task has left the queue", func() bool {
		_, err := b.inspector.GetTaskInfo("default", never)
		return errors.Is(err, asynq.ErrTaskNotFound)
	})
	if b.count(fmt.Sprintf("SELECT count(*) FROM outboxd.outbox o WHERE id = '%s' AND NOT EXISTS (SELECT FROM outboxd.inbox i WHERE i.event_id = o.id)", never)) != 1 {
		t.Error("it does not wait in the outbox")
	}
}
