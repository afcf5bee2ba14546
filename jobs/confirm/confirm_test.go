package confirm_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/jobs/confirm"
)

// serve runs a worker with the middleware, and returns a client to put tasks into its queue, and an inspector.
func serve(t *testing.T, db *sql.DB, handler asynq.HandlerFunc) (*asynq.Client, *asynq.Inspector) {
	t.Helper()
	return serveWith(t, handler, confirm.Middleware(db))
}

// serveWith is serve with these middlewares.
func serveWith(t *testing.T, handler asynq.HandlerFunc, middlewares ...asynq.MiddlewareFunc) (*asynq.Client, *asynq.Inspector) {
	t.Helper()
	redis, err := asynq.ParseRedisURI(servertest.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	mux := asynq.NewServeMux()
	mux.Use(middlewares...)
	mux.Handle("test:", handler)
	server := asynq.NewServer(redis, asynq.Config{
		Concurrency: 4, TaskCheckInterval: 5 * time.Millisecond, DelayedTaskCheckInterval: 50 * time.Millisecond, LogLevel: asynq.FatalLevel,
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return 0 }, IsFailure: confirm.IsFailure,
	})
	if err := server.Start(mux); err != nil {
		t.Fatal(err)
	}
	client, inspector := asynq.NewClient(redis), asynq.NewInspector(redis)
	t.Cleanup(func() {
		server.Shutdown()
		if err := errors.Join(client.Close(), inspector.Close()); err != nil {
			t.Error(err)
		}
	})
	return client, inspector
}

func enqueue(t *testing.T, client *asynq.Client, kind, id string) {
	t.Helper()
	if _, err := client.Enqueue(asynq.NewTask(kind, nil), asynq.TaskID(id), asynq.Retention(time.Hour)); err != nil {
		t.Fatal(err)
	}
}

// awaitState waits until a task is where it should end.
func awaitState(t *testing.T, inspector *asynq.Inspector, id string, want asynq.TaskState) *asynq.TaskInfo {
	t.Helper()
	limit, again := time.NewTimer(30*time.Second), time.NewTicker(10*time.Millisecond)
	defer limit.Stop()
	defer again.Stop()
	for {
		task, err := inspector.GetTaskInfo("default", id)
		if err == nil && task.State == want {
			return task
		}
		select {
		case <-limit.C:
			t.Fatalf("task %s is %+v, %v, want %v", id, task, err, want)
		case <-again.C:
		}
	}
}

func TestAnEffectHappensOnce(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t).SQL()
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE effects (event_id uuid NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	effects := func() (n int) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM effects").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	var id string
	if err := db.QueryRowContext(t.Context(), "SELECT outboxd.emit('test:effect', '{}')").Scan(&id); err != nil {
		t.Fatal(err)
	}
	failed := make(chan struct{}, 1)
	client, inspector := serve(t, db, func(ctx context.Context, _ *asynq.Task) error {
		event, err := confirm.EventID(ctx)
		if err != nil {
			return err
		}
		if _, err := confirm.Tx(ctx).ExecContext(ctx, "INSERT INTO effects VALUES ($1)", event); err != nil {
			return err
		}
		select {
		case failed <- struct{}{}:
			return errors.New("the first attempt fails after its effect")
		default:
			return nil
		}
	})

	// The same event comes at the same time under two task IDs, as after a replay.
	enqueue(t, client, "test:effect", id)
	enqueue(t, client, "test:effect", id+".1")
	awaitState(t, inspector, id, asynq.TaskStateCompleted)
	awaitState(t, inspector, id+".1", asynq.TaskStateCompleted)
	if n := effects(); n != 1 {
		t.Errorf("%d effects of two deliveries and a failure, want 1", n)
	}
	enqueue(t, client, "test:effect", id+".2")
	awaitState(t, inspector, id+".2", asynq.TaskStateCompleted)
	if n := effects(); n != 1 {
		t.Errorf("%d effects after a repeat, want 1", n)
	}
	var confirmed int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM inbox WHERE event_id = $1", id).Scan(&confirmed); err != nil || confirmed != 1 {
		t.Errorf("the event is confirmed %d times, %v", confirmed, err)
	}

	enqueue(t, client, "test:effect", "not-an-event")
	if task := awaitState(t, inspector, "not-an-event", asynq.TaskStateArchived); task.Retried != 0 {
		t.Errorf("a task that is no event's was tried %d times more", task.Retried)
	}
	if n := effects(); n != 1 {
		t.Errorf("%d effects after a task that is no event's, want 1", n)
	}
}

func TestOutsideOfATask(t *testing.T) {
	t.Parallel()
	if confirm.Tx(t.Context()) != nil {
		t.Error("there is a transaction")
	}
	if _, err := confirm.EventID(t.Context()); err == nil {
		t.Error("there is an event")
	}
}
