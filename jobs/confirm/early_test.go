package confirm_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/schematest"
)

// In a database that went back, an event may not take effect before its turn. Its task is not charged for that, nor
// archived on its last attempt.
func TestTasksBeforeTheirTurn(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t).SQL()
	exec := func(query string, arguments ...any) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), query, arguments...); err != nil {
			t.Fatal(err)
		}
	}
	exec("UPDATE outbox_queue_identity SET went_back_at = now()")
	emit := func(key string) (id string) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), "SELECT outboxd.emit('test:effect', '{}', ordering_key => $1)", key).Scan(&id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	client, inspector := serve(t, db, func(context.Context, *asynq.Task) error { return nil })
	enqueue := func(id string, attempts int) {
		t.Helper()
		if _, err := client.Enqueue(asynq.NewTask("test:effect", nil), asynq.TaskID(id), asynq.MaxRetry(attempts), asynq.Retention(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	more, last, never := emit("a"), emit("b"), emit("c")
	enqueue(more, 2)
	enqueue(last, 0)
	enqueue(never, 0)
	awaitState(t, inspector, more, asynq.TaskStateRetry)
	awaitState(t, inspector, last, asynq.TaskStateActive)
	exec("INSERT INTO outbox_turns (ordering_key, event_id) SELECT ordering_key, id FROM outbox WHERE ordering_key IN ('a', 'b')")
	for _, id := range []string{more, last} {
		if task := awaitState(t, inspector, id, asynq.TaskStateCompleted); task.Retried != 0 {
			t.Errorf("a task was charged %d attempts", task.Retried)
		}
		var confirmed bool
		if err := db.QueryRowContext(t.Context(), "SELECT outbox_is_confirmed($1)", id).Scan(&confirmed); err != nil || !confirmed {
			t.Errorf("%s took effect: %t, %v", id, confirmed, err)
		}
	}
	// One whose turn does not come makes room, and is not confirmed.
	limit, again := time.NewTimer(30*time.Second), time.NewTicker(10*time.Millisecond)
	defer limit.Stop()
	defer again.Stop()
	for {
		_, err := inspector.GetTaskInfo("default", never)
		if errors.Is(err, asynq.ErrTaskNotFound) {
			break
		}
		select {
		case <-limit.C:
			t.Fatalf("the task still waits, %v", err)
		case <-again.C:
		}
	}
	var pending int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM outbox o WHERE id = $1 AND NOT EXISTS (SELECT FROM inbox i WHERE i.event_id = o.id)", never).Scan(&pending); err != nil || pending != 1 {
		t.Errorf("%d events wait, %v, want 1", pending, err)
	}
}
