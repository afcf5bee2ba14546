package consumer_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

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
	more, last, never, hasty := emit("a"), emit("b"), emit("c"), emit("d")
	b.enqueue(more, asynq.MaxRetry(2))
	b.enqueue(last, asynq.MaxRetry(0))
	b.enqueue(never, asynq.MaxRetry(0))
	b.enqueue(hasty, asynq.MaxRetry(0), asynq.Timeout(time.Second))
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
	// If the turn has not come on the last attempt, or not in the task's time, the task leaves the queue, and its event
	// is not confirmed.
	for _, id := range []string{never, hasty} {
		eventually(t, "the task has left the queue", func() bool {
			_, err := b.inspector.GetTaskInfo("default", id)
			return errors.Is(err, asynq.ErrTaskNotFound)
		})
		if b.count(fmt.Sprintf("SELECT count(*) FROM outboxd.outbox o WHERE id = '%s' AND NOT EXISTS (SELECT FROM outboxd.inbox i WHERE i.event_id = o.id)", id)) != 1 {
			t.Error("it does not wait in the outbox")
		}
	}
}

// A transaction that moves an event to a later time is open when the event's task comes. The
// confirmation waits for that transaction, and only the commit of the effect is refused.
func TestATaskWhoseEventIsBeingMoved(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]func(*consumer.Consumer[*sql.Tx], func(context.Context, *sql.Tx) error) asynq.Handler{
		"one": func(c *consumer.Consumer[*sql.Tx], handle func(context.Context, *sql.Tx) error) asynq.Handler {
			return consumer.Handle(c, func(ctx context.Context, tx *sql.Tx, _ []byte) error { return handle(ctx, tx) })
		},
		"batch": func(c *consumer.Consumer[*sql.Tx], handle func(context.Context, *sql.Tx) error) asynq.Handler {
			return consumer.HandleBatch(c, func(ctx context.Context, tx *sql.Tx, _ [][]byte) error { return handle(ctx, tx) }, consumer.Batch{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.exec("CREATE TABLE effects (n integer)")
			id := b.emit(client.Event{Type: "test:effect"})
			moving, err := b.db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = moving.Rollback() }()
			var answer string
			if err := moving.QueryRowContext(t.Context(), "SELECT outboxd.reschedule($1::text::uuid, now() + interval '1 hour')", id).Scan(&answer); err != nil || answer != "rescheduled" {
				t.Fatal(answer, err)
			}
			b.serve(handler(consumer.New(consumer.SQL(b.db), consumer.Options{}), func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, "INSERT INTO effects VALUES (1)")
				return err
			}))
			b.enqueue(id, asynq.MaxRetry(3))
			eventually(t, "the task waits for the move", func() bool {
				return b.count("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'") > 0
			})
			if err := moving.Commit(); err != nil {
				t.Fatal(err)
			}
			if task := b.await(id, asynq.TaskStateRetry); task.Retried != 0 || !contains(task.LastErr, consumer.ErrTooEarly.Error()) {
				t.Errorf("the task was charged %d attempts: %s", task.Retried, task.LastErr)
			}
			if n := b.count("SELECT (SELECT count(*) FROM effects) + (SELECT count(*) FROM outboxd.inbox)"); n != 0 {
				t.Errorf("%d rows of effects and confirmations, want none", n)
			}
		})
	}
}
