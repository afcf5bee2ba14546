package consumer_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/client"
	"outboxd/client/consumer"
)

// batchEffects writes an effect for each event, and fails or panics at the amount 13.
type batchEffects struct {
	t     *testing.T
	mu    sync.Mutex
	sizes []int
	harm  func()
}

func (b *batchEffects) handle(ctx context.Context, tx *sql.Tx, payments []payment) error {
	events := consumer.EventsOf(ctx)
	if len(events) != len(payments) {
		b.t.Errorf("%d events and %d payloads", len(events), len(payments))
	}
	b.mu.Lock()
	b.sizes = append(b.sizes, len(payments))
	b.mu.Unlock()
	for i, p := range payments {
		if _, err := tx.ExecContext(ctx, insertEffect, events[i].ID.String(), p.Amount); err != nil {
			return err
		}
		if p.Amount == 13 {
			b.harm()
			return errors.New("not this one")
		}
	}
	return nil
}

// pay puts a task with this ID and payload into the queue. The task has one attempt.
func (b *bench) pay(id, payload string) {
	b.t.Helper()
	if _, err := b.client.Enqueue(asynq.NewTask("test:effect", []byte(payload)), asynq.TaskID(id), asynq.Retention(time.Hour), asynq.MaxRetry(0)); err != nil {
		b.t.Fatal(err)
	}
}

// Four tasks form a batch in the four places of the worker. One of them fails or
// panics, which costs no other task an attempt.
func TestOneBadEventInABatch(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(){"error": func() {}, "panic": func() { panic("not this one") }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.exec("CREATE TABLE effects (event_id uuid NOT NULL UNIQUE, amount integer)")
			effects := &batchEffects{t: t, harm: harm}
			var log bytes.Buffer // written once, before any of the tasks ends
			ids := make([]string, 4)
			for i := range ids {
				ids[i] = b.emit(client.Event{Type: "test:effect"})
				b.pay(ids[i], map[bool]string{true: `{"Amount": 13}`, false: `{"Amount": 7}`}[i == 2])
			}
			b.serve(consumer.HandleBatch(consumer.New(consumer.SQL(b.db), consumer.Options{}), effects.handle, consumer.Batch{Wait: time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil))}))
			for i, id := range ids {
				b.await(id, map[bool]asynq.TaskState{true: asynq.TaskStateArchived, false: asynq.TaskStateCompleted}[i == 2])
			}
			if n := b.count("SELECT count(*) FROM effects JOIN outboxd.inbox USING (event_id) WHERE amount = 7"); n != 3 {
				t.Errorf("%d effects, want 3", n)
			}
			if n := b.count("SELECT count(*) FROM outboxd.inbox"); n != 3 {
				t.Errorf("%d events are confirmed, want 3", n)
			}
			effects.mu.Lock()
			defer effects.mu.Unlock()
			if said := log.String(); !contains(said, "task_type=test:effect size=4") || !contains(said, "not this one") {
				t.Errorf("the log of the batch that failed is %q", said)
			}
			slices.Sort(effects.sizes)
			if !slices.Equal(effects.sizes, []int{1, 1, 1, 1, 4}) {
				t.Errorf("batches of %v", effects.sizes)
			}
		})
	}
}

// A handler that ends its goroutine, as FailNow of a test does, costs no other task of the
// batch an attempt.
func TestABatchWhoseGoroutineEnds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.exec("CREATE TABLE effects (event_id uuid NOT NULL UNIQUE, amount integer)")
	effects := &batchEffects{t: t, harm: runtime.Goexit}
	var ids []string
	for _, payload := range []string{`{"Amount": 7}`, `{"Amount": 13}`, `{"Amount": 7}`, `{"Amount": 7}`} {
		ids = append(ids, b.emit(client.Event{Type: "test:effect"}))
		b.pay(ids[len(ids)-1], payload)
	}
	b.serve(consumer.HandleBatch(consumer.New(consumer.SQL(b.db), consumer.Options{}), effects.handle, consumer.Batch{Wait: time.Hour}))
	for _, id := range []string{ids[0], ids[2], ids[3]} {
		b.await(id, asynq.TaskStateCompleted)
	}
}

// An event that took effect before, and the repeat of an event in the same batch, are
// left out. A task that is no event is archived.
func TestWhatABatchLeavesOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.exec("CREATE TABLE effects (event_id uuid NOT NULL UNIQUE, amount integer)")
	effects := &batchEffects{t: t}
	before, other := b.emit(client.Event{Type: "test:effect"}), b.emit(client.Event{Type: "test:effect"})
	b.exec("SELECT outboxd.confirm('" + before + "')")
	for _, id := range []string{before, other, other + ".1", "not-an-event"} {
		b.pay(id, `{"Amount": 7}`)
	}
	b.serve(consumer.HandleBatch(consumer.New(consumer.SQL(b.db), consumer.Options{}), effects.handle, consumer.Batch{Max: 3, Wait: time.Hour}))
	for _, id := range []string{before, other, other + ".1"} {
		b.await(id, asynq.TaskStateCompleted)
	}
	b.await("not-an-event", asynq.TaskStateArchived)
	if n := b.count("SELECT count(*) FROM effects"); n != 1 {
		t.Errorf("%d effects, want 1", n)
	}
}

// A batch of a remote consumer writes a row in its own inbox for each event. A repeat of
// the events takes no effect.
func TestABatchInADatabaseOfOnesOwn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.exec("CREATE TABLE effects (event_id uuid NOT NULL UNIQUE, amount integer)")
	effects := &batchEffects{t: t}
	c, err := consumer.NewRemote(consumer.SQL(b.db), b.Redis(t), consumer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.CreateInbox(t.Context()); err != nil {
		t.Fatal(err)
	}
	ids := make([]string, 4)
	for i := range ids {
		ids[i] = client.NewID().String()
		b.pay(ids[i], `{"Amount": 7}`)
	}
	b.serve(consumer.HandleBatch(c, effects.handle, consumer.Batch{Wait: time.Hour}))
	for _, id := range ids {
		b.await(id, asynq.TaskStateCompleted)
	}
	if n := b.count("SELECT count(*) FROM effects JOIN outboxd_inbox USING (event_id)"); n != len(ids) {
		t.Errorf("%d effects, want %d", n, len(ids))
	}
	// Tasks of the same events run again, as after a lost acknowledgement.
	for _, id := range ids {
		b.pay(id+".1", `{"Amount": 7}`)
	}
	for _, id := range ids {
		b.await(id+".1", asynq.TaskStateCompleted)
	}
	effects.mu.Lock()
	defer effects.mu.Unlock()
	if !slices.Equal(effects.sizes, []int{4}) {
		t.Errorf("batches of %v, want one of 4", effects.sizes)
	}
}

// A worker that stops does not wait for the rest of a batch.
func TestAHalfFullBatchAtTheEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.exec("CREATE TABLE effects (event_id uuid NOT NULL UNIQUE, amount integer)")
	effects := &batchEffects{t: t}
	ids := []string{b.emit(client.Event{Type: "test:effect"}), b.emit(client.Event{Type: "test:effect"})}
	for _, id := range ids {
		b.pay(id, `{"Amount": 7}`)
	}
	ctx, stop := context.WithCancel(t.Context())
	begun := make(chan struct{}, len(ids))
	var running sync.WaitGroup
	running.Go(func() {
		handler := consumer.HandleBatch(consumer.New(consumer.SQL(b.db), consumer.Options{}), effects.handle, consumer.Batch{Wait: time.Hour})
		if err := consumer.Run(ctx, b.Redis(t), asynq.Config{Concurrency: 9, LogLevel: asynq.FatalLevel}, asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
			begun <- struct{}{}
			return handler.ProcessTask(ctx, task)
		})); err != nil {
			t.Error(err)
		}
	})
	for range ids { // an active task that has not begun may still go back to its queue
		select {
		case <-begun:
		case <-time.After(30 * time.Second):
			t.Fatal("no task begins")
		}
	}
	stop()
	running.Wait()
	// An event that had not come to the batch yet is given back.
	took := 0
	for _, id := range ids {
		if b.count("SELECT count(*) FROM effects WHERE event_id = '"+id+"'") == 1 {
			took++
			continue
		}
		b.await(id, asynq.TaskStatePending)
	}
	if took == 0 {
		t.Error("the batch took no effect")
	}
}

// hanging is a database in which no transaction begins before the channel let is closed.
type hanging struct {
	consumer.Database[*sql.Tx]
	let chan struct{}
}

func (h hanging) Begin(ctx context.Context) (consumer.Transaction[*sql.Tx], error) {
	select {
	case <-h.let:
		return h.Database.Begin(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A database that hangs costs no attempt, not even the last one.
func TestADatabaseThatHangsCostsABatchNoAttempt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.exec("CREATE TABLE effects (event_id uuid NOT NULL UNIQUE, amount integer)")
	effects, db := &batchEffects{t: t}, hanging{consumer.SQL(b.db), make(chan struct{})}
	ids := []string{b.emit(client.Event{Type: "test:effect"}), b.emit(client.Event{Type: "test:effect"})}
	for _, id := range ids {
		// The batch ends a tenth of the time before its task. A busy machine needs a second for that.
		b.enqueue(id, asynq.MaxRetry(0), asynq.Timeout(10*time.Second))
	}
	b.serve(consumer.HandleBatch(consumer.New[*sql.Tx](db, consumer.Options{}), effects.handle, consumer.Batch{}))
	for _, id := range ids {
		if task := b.await(id, asynq.TaskStateRetry); task.Retried != 0 || !contains(task.LastErr, "nothing of the task was tried") {
			t.Errorf("charged %d attempts: %s", task.Retried, task.LastErr)
		}
	}
	close(db.let)
	for _, id := range ids {
		b.await(id, asynq.TaskStateCompleted)
	}
}

// A task with a timeout of 2 s completes in time, although batches may wait an hour for more
// events, or although all batches that may run last long.
func TestAShortTimeIsNotSpentWaitingForABatch(t *testing.T) {
	t.Parallel()
	for name, batch := range map[string]consumer.Batch{"for others": {Wait: time.Hour}, "for long batches": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			begun, end := make(chan struct{}), make(chan struct{})
			handler := consumer.HandleBatch(consumer.New(consumer.SQL(b.db), consumer.Options{}), func(_ context.Context, _ *sql.Tx, payments []payment) error {
				if payments[0].Amount == 1 {
					begun <- struct{}{}
					<-end
				}
				return nil
			}, batch)
			most := 0
			if batch.Wait == 0 {
				most = max(runtime.GOMAXPROCS(0), 2) // batches under way at the same time
			}
			for range most {
				b.pay(b.emit(client.Event{Type: "test:effect"}), `{"Amount": 1}`)
			}
			ctx, stop := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() {
				if err := consumer.Run(ctx, b.Redis(t), asynq.Config{Concurrency: most + 2, LogLevel: asynq.FatalLevel}, handler); err != nil {
					t.Error(err)
				}
			})
			defer running.Wait()
			defer stop()
			defer close(end)
			for range most {
				<-begun
			}
			short := b.emit(client.Event{Type: "test:effect"})
			b.enqueue(short, asynq.MaxRetry(0), asynq.Timeout(2*time.Second))
			b.await(short, asynq.TaskStateCompleted)
		})
	}
}
