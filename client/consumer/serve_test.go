package consumer_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/client"
	"outboxd/client/consumer"
	"outboxd/client/outboxtest"
)

// bench is an outbox and its Redis. The bench of newBench has no relay: tests put
// tasks into the queue themselves.
type bench struct {
	*outboxtest.Outboxd
	t         *testing.T
	db        *sql.DB
	client    *asynq.Client
	inspector *asynq.Inspector
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return newBenchWith(t, "monitor")
}

func newBenchWith(t *testing.T, roles string) *bench {
	t.Helper()
	o := outboxtest.Start(t, "--roles="+roles)
	redis := o.Redis(t)
	b := &bench{Outboxd: o, t: t, db: o.DB(t), client: asynq.NewClient(redis), inspector: asynq.NewInspector(redis)}
	t.Cleanup(func() {
		if err := errors.Join(b.client.Close(), b.inspector.Close()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// serve runs a worker that gives every task to the handler.
func (b *bench) serve(handler asynq.Handler) {
	b.t.Helper()
	b.serveAtOnce(4, handler)
}

// serveAtOnce is serve with this many tasks at the same time.
func (b *bench) serveAtOnce(tasks int, handler asynq.Handler) {
	b.t.Helper()
	ctx, stop := context.WithCancel(b.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		err := consumer.Run(ctx, b.Redis(b.t), asynq.Config{
			Concurrency: tasks, TaskCheckInterval: 5 * time.Millisecond, DelayedTaskCheckInterval: 50 * time.Millisecond, LogLevel: asynq.FatalLevel,
			RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return 0 },
		}, handler)
		if err != nil {
			b.t.Error(err)
		}
	})
	b.t.Cleanup(func() { stop(); running.Wait() })
}

func (b *bench) exec(statements ...string) {
	b.t.Helper()
	exec(b.t, b.db, statements...)
}

func exec(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// emit commits an event and returns its ID.
func (b *bench) emit(event client.Event) string {
	b.t.Helper()
	return emit(b.t, b.db, event)
}

func emit(t *testing.T, db *sql.DB, event client.Event) string {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	id, err := client.Outbox{}.Emit(t.Context(), tx, event)
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	return id.String()
}

func (b *bench) enqueue(id string, options ...asynq.Option) {
	b.t.Helper()
	task := asynq.NewTaskWithHeaders("test:effect", []byte(`{"Amount": 7}`), map[string]string{"tenant": "a"})
	if _, err := b.client.Enqueue(task, append([]asynq.Option{asynq.TaskID(id), asynq.Retention(time.Hour)}, options...)...); err != nil {
		b.t.Fatal(err)
	}
}

// await waits until a task is in the wanted state.
func (b *bench) await(id string, want asynq.TaskState) (task *asynq.TaskInfo) {
	b.t.Helper()
	eventually(b.t, "task "+id+" is "+want.String(), func() (done bool) {
		info, err := b.inspector.GetTaskInfo("default", id)
		task = info
		return err == nil && info.State == want
	})
	return task
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	limit, again := time.NewTimer(60*time.Second), time.NewTicker(10*time.Millisecond)
	defer limit.Stop()
	defer again.Stop()
	for !holds() {
		select {
		case <-limit.C:
			t.Fatalf("not within a minute: %s", what)
		case <-again.C:
		}
	}
}

func (b *bench) count(query string) (n int) {
	b.t.Helper()
	return count(b.t, b.db, query)
}

func count(t *testing.T, db *sql.DB, query string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func replaceDatabase(address string) string {
	return strings.Replace(address, "@/outboxd?", "@/elsewhere?", 1)
}

func contains(text, part string) bool { return strings.Contains(text, part) }
