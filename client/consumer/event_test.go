package consumer_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/client"
	"outboxd/client/consumer"
	"outboxd/client/outboxtest"
)

// Another program enqueues a task without choosing its ID: Asynq makes a UUID. The consumer tells
// the task from an event with such an ID by the relay's header.
func TestATaskOfAnotherProgram(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		passOthers bool
		want       asynq.TaskState
	}{
		"refused": {false, asynq.TaskStateArchived},
		"passed":  {true, asynq.TaskStateCompleted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := outboxtest.Start(t)
			db, redis := o.DB(t), o.Redis(t)
			b := &bench{Outboxd: o, t: t, db: db, client: asynq.NewClient(redis), inspector: asynq.NewInspector(redis)}
			t.Cleanup(func() { _, _ = b.client.Close(), b.inspector.Close() })
			seen := make(chan consumer.Event, 10)
			c := consumer.New(consumer.SQL(db), consumer.Options{PassOthers: test.passOthers})
			mux := asynq.NewServeMux()
			mux.Handle("test:one", consumer.Handle(c, func(ctx context.Context, _ *sql.Tx, _ []byte) error {
				seen <- consumer.EventOf(ctx)
				return nil
			}))
			mux.Handle("test:many", consumer.HandleBatch(c, func(ctx context.Context, _ *sql.Tx, _ [][]byte) error {
				for _, e := range consumer.EventsOf(ctx) {
					seen <- e
				}
				return nil
			}, consumer.Batch{}))
			b.serve(mux)
			for _, kind := range []string{"test:one", "test:many"} {
				info, err := b.client.Enqueue(asynq.NewTask(kind, nil), asynq.Retention(time.Hour))
				if err != nil {
					t.Fatal(err)
				}
				b.await(info.ID, test.want)
				if test.passOthers {
					if e := <-seen; !e.ID.IsZero() || e.Type != kind {
						t.Errorf("the handler knows %+v of another program's task", e)
					}
				}
				id := client.NewID()
				id[6] = id[6]&0x0f | 0x40 // as PostgreSQL's gen_random_uuid makes them
				b.emit(client.Event{ID: id, Type: kind})
				if e := <-seen; e.ID != id || e.Type != kind || len(e.Headers) != 0 {
					t.Errorf("the handler knows %+v of event %s", e, id)
				}
			}
			eventually(t, "both events are confirmed", func() bool { return b.count("SELECT count(*) FROM outboxd.inbox") >= 2 })
			if n := b.count("SELECT count(*) FROM outboxd.inbox"); n != 2 {
				t.Errorf("%d events are confirmed, want 2", n)
			}
		})
	}
}

// A worker with an Asynq before 0.26 drops a task's headers when the task fails there.
// So after a failed attempt the ID alone shows that the task is an event's.
func TestAnEventThatLostItsHeaders(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	seen := make(chan consumer.Event, 10)
	b.serve(consumer.Handle(consumer.New(consumer.SQL(b.db), consumer.Options{PassOthers: true}), func(ctx context.Context, _ *sql.Tx, _ payment) error {
		e := consumer.EventOf(ctx)
		seen <- e
		if e.Attempt == 1 {
			return errors.New("not yet")
		}
		return nil
	}))
	id := client.NewID()
	id[6] = id[6]&0x0f | 0x40
	b.enqueue(id.String())
	if e := <-seen; !e.ID.IsZero() {
		t.Errorf("the first attempt knows %+v of a task without headers", e)
	}
	if e := <-seen; e.ID != id {
		t.Errorf("the second attempt knows %+v of event %s", e, id)
	}
	eventually(t, "the event is confirmed", func() bool { return b.count("SELECT count(*) FROM outboxd.inbox") == 1 })
}

// A task with an ID that the relay would not give a task is not an event's.
func TestIDsThatAreNoEvents(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.serve(consumer.Handle(consumer.New(consumer.SQL(b.db), consumer.Options{}), func(ctx context.Context, _ *sql.Tx, _ payment) error {
		t.Errorf("the handler runs with %+v", consumer.EventOf(ctx))
		return nil
	}))
	id := client.NewID().String()
	for _, name := range []string{client.ID{}.String(), id + ".0", id + ".01", id + ".+1", id + ".", id + ".x"} {
		b.enqueue(name)
		b.await(name, asynq.TaskStateArchived)
	}
}
