package consumer_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/client"
	"outboxd/client/acknowledge"
	"outboxd/client/consumer"
	"outboxd/client/outboxtest"
)

// The function elsewhere makes a second database on the outbox's server, with a table steps, and
// returns a pool on it.
func elsewhere(t *testing.T, o *outboxtest.Outboxd) *sql.DB {
	t.Helper()
	exec(t, o.DB(t), "CREATE DATABASE elsewhere")
	other := *o
	other.DatabaseURL = replaceDatabase(o.DatabaseURL)
	db := other.DB(t)
	exec(t, db, "CREATE TABLE steps (place serial, n integer)")
	return db
}

// stepper returns the handler of a remote consumer that writes into the table steps of db.
func stepper(t *testing.T, o *outboxtest.Outboxd, db *sql.DB, schema string) asynq.Handler {
	t.Helper()
	c, err := consumer.NewRemote(consumer.SQL(db), o.Redis(t), consumer.Options{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	for range 2 { // the second call finds the table
		if err := c.CreateInbox(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return consumer.Handle(c, func(ctx context.Context, tx *sql.Tx, n int) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO steps (n) VALUES ($1)", n)
		return err
	})
}

func run(t *testing.T, o *outboxtest.Outboxd, handler asynq.Handler) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		config := asynq.Config{TaskCheckInterval: time.Hour, LogLevel: asynq.FatalLevel, RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return 0 }}
		if err := consumer.Run(ctx, o.Redis(t), config, handler); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); running.Wait() })
}

// A key's events take effect in order in another database: each one waits until the
// acknowledgement of the one before has come back.
func TestOrderAcrossDatabases(t *testing.T) {
	t.Parallel()
	o := outboxtest.Start(t)
	origin, own := o.DB(t), elsewhere(t, o)
	exec(t, own, "CREATE SCHEMA billing")
	run(t, o, stepper(t, o, own, "billing"))
	const steps = 30
	for n := range steps {
		event := step.Event(n)
		event.OrderingKey = "k"
		emit(t, origin, event)
	}
	o.Drain(t)
	if n := count(t, own, "SELECT count(*) FROM steps WHERE n = place - 1"); n != steps {
		t.Errorf("%d of %d steps are in order", n, steps)
	}
	if n := count(t, own, "SELECT count(*) FROM billing.outboxd_inbox"); n != steps {
		t.Errorf("%d events are in the inbox", n)
	}
}

// Acknowledgements that are lost, and a Redis that is emptied, cost repeats that the
// inbox absorbs; then everything is confirmed.
func TestALostAcknowledgementCostsARepeat(t *testing.T) {
	t.Parallel()
	o := outboxtest.Start(t, "--redis-check-interval=100ms")
	origin, own := o.DB(t), elsewhere(t, o)
	r, ok := o.Redis(t).MakeRedisClient().(redis.UniversalClient)
	if !ok {
		t.Fatal("no client")
	}
	t.Cleanup(func() { _ = r.Close() })
	// The value of the stream's key is not a stream, so Redis refuses every
	// acknowledgement.
	if err := r.Set(t.Context(), acknowledge.Key, "no stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	run(t, o, stepper(t, o, own, ""))
	const steps = 20
	for n := range steps {
		emit(t, origin, step.Event(n))
	}
	eventually(t, "every event took effect", func() bool { return count(t, own, "SELECT count(*) FROM steps") == steps })
	if n := count(t, origin, "SELECT count(*) FROM outboxd.inbox"); n != 0 {
		t.Errorf("%d events are confirmed that nobody acknowledged", n)
	}
	if err := r.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	o.Drain(t)
	if n := count(t, own, "SELECT count(*) FROM steps"); n != steps {
		t.Errorf("%d effects of %d events", n, steps)
	}
}

// Acknowledgements that fit no event do no harm: of an unknown event, or with another type or queue
// than the event's. Neither does an entry that is no acknowledgement.
func TestOthersAcknowledgements(t *testing.T) {
	t.Parallel()
	o := outboxtest.Start(t)
	origin, own := o.DB(t), elsewhere(t, o)
	r, ok := o.Redis(t).MakeRedisClient().(redis.UniversalClient)
	if !ok {
		t.Fatal("no client")
	}
	t.Cleanup(func() { _ = r.Close() })
	id, err := client.ParseID(emit(t, origin, step.Event(1)))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []acknowledge.Acknowledgement{
		{Event: client.NewID(), Type: "test:step", Queue: "default"}, {Event: id, Type: "other", Queue: "default"}, {Event: id, Type: "test:step", Queue: "other\x00\xff"},
	} {
		if err := acknowledge.Send(t.Context(), r, a); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.XAdd(t.Context(), &redis.XAddArgs{Stream: acknowledge.Key, Values: []string{"event", "none"}}).Err(); err != nil {
		t.Fatal(err)
	}
	last, err := r.XRevRangeN(t.Context(), acknowledge.Key, "+", "-", 1).Result()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all were read", func() bool {
		return count(t, origin, fmt.Sprintf("SELECT count(*) FROM outboxd.outbox_queue_identity WHERE acknowledged = '%s'", last[0].ID)) == 1
	})
	if n := count(t, origin, "SELECT count(*) FROM outboxd.inbox"); n != 0 {
		t.Errorf("%d events are confirmed", n)
	}
	run(t, o, stepper(t, o, own, ""))
	o.Drain(t)
}

// Two outboxes on one Redis have an event with the same ID, type and queue. The acknowledgement of
// its one task confirms the event only in the outbox that the task came from.
func TestTwoOutboxesOnOneRedis(t *testing.T) {
	t.Parallel()
	o := outboxtest.Start(t)
	origin, own := o.DB(t), elsewhere(t, o)
	other := *o
	other.DatabaseURL = replaceDatabase(o.DatabaseURL)
	outboxtest.Start(t, "--database-url="+other.DatabaseURL, "--redis-url="+o.RedisURL, "--redis-check-interval=100ms")
	id := emit(t, origin, step.Event(1))
	eventually(t, "its task is in Redis", func() bool { return count(t, origin, "SELECT count(*) FROM outboxd.outbox_sent") == 1 })
	exec(t, own, fmt.Sprintf("INSERT INTO outboxd.outbox (id, event_type, payload) VALUES ('%s', 'test:step', '1')", id))
	eventually(t, "the other finds it there already", func() bool { return count(t, own, "SELECT count(*) FROM outboxd.outbox_sent") == 1 })
	run(t, o, stepper(t, o, own, ""))
	o.Drain(t)
	// An event that only the other outbox has is acknowledged later. Once it is
	// confirmed, the other outbox has also read the acknowledgement of the first
	// event.
	alone := emit(t, own, step.Event(2))
	eventually(t, "it is confirmed", func() bool {
		return count(t, own, "SELECT count(*) FROM outboxd.inbox WHERE event_id = '"+alone+"'") == 1
	})
	if n := count(t, own, "SELECT count(*) FROM outboxd.inbox"); n != 1 {
		t.Errorf("%d events of the other outbox are confirmed, want 1", n)
	}
	if n := count(t, origin, "SELECT count(*) FROM outboxd.inbox"); n != 1 {
		t.Errorf("%d events are confirmed, want 1", n)
	}
}

// A Redis that has reached its maxmemory accepts acknowledgements, of single tasks and of batches. Otherwise no task
// would end, and Redis would stay full.
func TestAFullRedisTakesAcknowledgements(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]func(c *consumer.Consumer[*sql.Tx], fails func() error) asynq.Handler{
		"one by one": func(c *consumer.Consumer[*sql.Tx], fails func() error) asynq.Handler {
			return consumer.Handle(c, func(context.Context, *sql.Tx, payment) error { return fails() })
		},
		"in batches": func(c *consumer.Consumer[*sql.Tx], fails func() error) asynq.Handler {
			return consumer.HandleBatch(c, func(context.Context, *sql.Tx, []payment) error { return fails() }, consumer.Batch{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			c, err := consumer.NewRemote(consumer.SQL(b.db), b.Redis(t), consumer.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			if err := c.CreateInbox(t.Context()); err != nil {
				t.Fatal(err)
			}
			const tasks = 10
			ids := make([]string, tasks)
			for i := range ids {
				ids[i] = client.NewID().String()
				b.enqueue(ids[i], asynq.MaxRetry(5))
			}
			r, _ := b.Redis(t).MakeRedisClient().(redis.UniversalClient)
			t.Cleanup(func() { _ = r.Close() })
			if err := r.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
				t.Fatal(err)
			}
			var failed atomic.Int64
			b.serve(handler(c, func() error {
				if failed.Add(1) <= 3 {
					return errors.New("once more")
				}
				return nil
			}))
			for _, id := range ids {
				b.await(id, asynq.TaskStateCompleted)
			}
			if n := r.XLen(t.Context(), acknowledge.Key).Val(); n != tasks {
				t.Errorf("%d acknowledgements of %d events", n, tasks)
			}
		})
	}
}

// hooked is a RedisConnOpt whose clients have a hook.
type hooked struct {
	asynq.RedisConnOpt
	hook redis.Hook
}

func (h hooked) MakeRedisClient() any {
	client := h.RedisConnOpt.MakeRedisClient()
	if c, ok := client.(redis.UniversalClient); ok {
		c.AddHook(h.hook)
	}
	return client
}

// swallowing is a hook: the first acknowledgements get no answer.
type swallowing struct{ left atomic.Int64 }

func (*swallowing) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*swallowing) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (s *swallowing) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		if commands[0].Name() != "xadd" || s.left.Add(-1) < 0 {
			return next(ctx, commands)
		}
		<-ctx.Done()
		for _, command := range commands {
			command.SetErr(ctx.Err())
		}
		return ctx.Err()
	}
}

// Redis does not answer the acknowledgement within the task's time. That costs no attempt, not even the last one: the
// event took effect, so it must not become a dead letter.
func TestAnAcknowledgementEndsBeforeItsTask(t *testing.T) {
	t.Parallel()
	const tasks = 2
	effect := func(ctx context.Context, tx *sql.Tx, payments ...payment) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO public.effects SELECT generate_series(1, $1::integer)", len(payments))
		return err
	}
	for name, of := range map[string]struct {
		lost    int64
		handler func(c *consumer.Consumer[*sql.Tx]) asynq.Handler
	}{
		"alone": {tasks, func(c *consumer.Consumer[*sql.Tx]) asynq.Handler {
			return consumer.Handle(c, func(ctx context.Context, tx *sql.Tx, p payment) error { return effect(ctx, tx, p) })
		}},
		"in a batch": {1, func(c *consumer.Consumer[*sql.Tx]) asynq.Handler {
			handle := func(ctx context.Context, tx *sql.Tx, all []payment) error { return effect(ctx, tx, all...) }
			return consumer.HandleBatch(c, handle, consumer.Batch{Max: tasks, Wait: time.Second})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, lost := newBench(t), &swallowing{}
			lost.left.Store(of.lost)
			b.exec("CREATE TABLE public.effects (n integer)")
			c, err := consumer.NewRemote(consumer.SQL(b.db), hooked{b.Redis(t), lost}, consumer.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			if err := c.CreateInbox(t.Context()); err != nil {
				t.Fatal(err)
			}
			ids := make([]string, tasks)
			for i := range ids {
				ids[i] = client.NewID().String()
				b.enqueue(ids[i], asynq.MaxRetry(0), asynq.Timeout(2*time.Second))
			}
			b.serve(of.handler(c))
			for _, id := range ids {
				b.await(id, asynq.TaskStateCompleted)
			}
			if n := b.count("SELECT count(*) FROM public.effects"); n != tasks {
				t.Errorf("%d effects of %d events", n, tasks)
			}
		})
	}
}

// On the last attempt, Asynq's own server removes the task of an event that took effect and is not acknowledged,
// because the leader sends the event again.
func TestAnAcknowledgementThatFailsOnAPlainServer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, err := consumer.NewRemote(consumer.SQL(b.db), b.Redis(t), consumer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	r, _ := b.Redis(t).MakeRedisClient().(redis.UniversalClient)
	t.Cleanup(func() { _ = r.Close() })
	if err := errors.Join(c.CreateInbox(t.Context()), r.Set(t.Context(), acknowledge.Key, "no stream", 0).Err()); err != nil {
		t.Fatal(err)
	}
	b.serveByAsynq(consumer.Handle(c, func(context.Context, *sql.Tx, payment) error { return nil }))
	id := client.NewID().String()
	b.enqueue(id, asynq.MaxRetry(0))
	eventually(t, "the task has left the queue", func() bool {
		_, err := b.inspector.GetTaskInfo("default", id)
		return errors.Is(err, asynq.ErrTaskNotFound)
	})
}

func TestAnInboxOfOnesOwn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, err := consumer.NewRemote(consumer.SQL(b.db), b.Redis(t), consumer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	b.serve(consumer.Handle(c, func(context.Context, *sql.Tx, payment) error { return nil }))
	id := client.NewID().String()
	// Without the table, the task's error says what is missing.
	b.enqueue(id, asynq.MaxRetry(0))
	if task := b.await(id, asynq.TaskStateRetry); task.Retried != 0 || !contains(task.LastErr, "CreateInbox") {
		t.Errorf("the error is %s", task.LastErr)
	}
	if err := c.CreateInbox(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.await(id, asynq.TaskStateCompleted)
	// On its last attempt a task whose acknowledgement fails is no dead letter. It goes back to its queue.
	r, _ := b.Redis(t).MakeRedisClient().(redis.UniversalClient)
	t.Cleanup(func() { _ = r.Close() })
	if err := errors.Join(r.Del(t.Context(), acknowledge.Key).Err(), r.Set(t.Context(), acknowledge.Key, "no stream", 0).Err()); err != nil {
		t.Fatal(err)
	}
	last := client.NewID().String()
	b.enqueue(last, asynq.MaxRetry(0))
	if task := b.await(last, asynq.TaskStateRetry); task.Retried != 0 || !contains(task.LastErr, "did not accept its acknowledgement") {
		t.Errorf("charged %d attempts: %s", task.Retried, task.LastErr)
	}
	if err := r.Del(t.Context(), acknowledge.Key).Err(); err != nil {
		t.Fatal(err)
	}
	b.await(last, asynq.TaskStateCompleted)
	b.exec("INSERT INTO outboxd_inbox VALUES (gen_random_uuid(), now() - interval '9 days')")
	if n, err := c.TrimInbox(t.Context(), 0); err == nil || n != 0 {
		t.Errorf("%d rows were trimmed at the age zero, %v", n, err)
	}
	if n, err := c.TrimInbox(t.Context(), 8*24*time.Hour); err != nil || n != 1 {
		t.Errorf("%d rows were trimmed, %v", n, err)
	}
	if n := b.count("SELECT count(*) FROM outboxd_inbox"); n != 2 {
		t.Errorf("%d rows are left", n)
	}
	if err := consumer.New(consumer.SQL(b.db), consumer.Options{}).CreateInbox(t.Context()); err == nil {
		t.Error("a consumer of the outbox's database has an inbox of its own")
	}
}
