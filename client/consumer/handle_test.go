package consumer_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"outboxd/client"
	"outboxd/client/consumer"
	"outboxd/client/gormoutbox"
	"outboxd/client/pgxoutbox"
)

type payment struct{ Amount int }

const insertEffect = "INSERT INTO effects VALUES ($1, $2)"

// Two tasks of the same event run at the same time, as after a replay, and the first
// attempt fails after its effect. The event takes effect once, with every driver.
func TestAnEffectHappensOnce(t *testing.T) {
	t.Parallel()
	t.Run("database/sql", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		happensOnce(b, consumer.Handle(consumer.New(consumer.SQL(b.db), consumer.Options{}), failOnce(func(ctx context.Context, tx *sql.Tx, p payment) error {
			_, err := tx.ExecContext(ctx, insertEffect, consumer.EventOf(ctx).ID.String(), p.Amount)
			return err
		})))
	})
	t.Run("GORM", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		db, err := gorm.Open(postgres.New(postgres.Config{Conn: b.db}))
		if err != nil {
			t.Fatal(err)
		}
		happensOnce(b, consumer.Handle(consumer.New(gormoutbox.Database(db), consumer.Options{Schema: "outboxd"}), failOnce(func(ctx context.Context, tx *gorm.DB, p payment) error {
			return tx.Exec(insertEffect, consumer.EventOf(ctx).ID.String(), p.Amount).Error
		})))
	})
	t.Run("pgx", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		pool, err := pgxpool.New(t.Context(), b.DatabaseURL)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		happensOnce(b, consumer.Handle(consumer.New(pgxoutbox.Database(pool), consumer.Options{}), failOnce(func(ctx context.Context, tx pgx.Tx, p payment) error {
			_, err := tx.Exec(ctx, insertEffect, consumer.EventOf(ctx).ID.String(), p.Amount)
			return err
		})))
	})
}

// failOnce lets the first attempt fail after its effect.
func failOnce[Tx any](handle func(context.Context, Tx, payment) error) func(context.Context, Tx, payment) error {
	failed := make(chan struct{}, 1)
	return func(ctx context.Context, tx Tx, p payment) error {
		if err := handle(ctx, tx, p); err != nil {
			return err
		}
		select {
		case failed <- struct{}{}:
			return errors.New("the first attempt fails after its effect")
		default:
			return nil
		}
	}
}

func happensOnce(b *bench, handler asynq.Handler) {
	b.t.Helper()
	b.exec("CREATE TABLE effects (event_id uuid NOT NULL, amount integer)")
	id := b.emit(client.Event{Type: "test:effect"})
	b.serve(handler)
	b.enqueue(id)
	b.enqueue(id + ".1")
	b.await(id, asynq.TaskStateCompleted)
	b.await(id+".1", asynq.TaskStateCompleted)
	b.enqueue(id + ".2")
	b.await(id+".2", asynq.TaskStateCompleted)
	if n := b.count("SELECT count(*) FROM effects WHERE amount = 7"); n != 1 {
		b.t.Errorf("%d effects of three deliveries and a failure, want 1", n)
	}
	if n := b.count(fmt.Sprintf("SELECT count(*) FROM outboxd.inbox WHERE event_id = '%s'", id)); n != 1 {
		b.t.Errorf("the event is confirmed %d times", n)
	}
	b.enqueue("not-an-event")
	if task := b.await("not-an-event", asynq.TaskStateArchived); task.Retried != 0 {
		b.t.Errorf("a task that is no event's was tried %d times more", task.Retried)
	}
	if n := b.count("SELECT count(*) FROM effects"); n != 1 {
		b.t.Errorf("%d effects after a task that is no event's, want 1", n)
	}
}

func TestWhatAHandlerKnows(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	seen := make(chan consumer.Event, 10)
	c := consumer.New(consumer.SQL(b.db), consumer.Options{PassOthers: true})
	b.serve(consumer.Handle(c, func(ctx context.Context, _ *sql.Tx, task *asynq.Task) error {
		if string(task.Payload()) != `{"Amount": 7}` {
			t.Errorf("the payload is %s", task.Payload())
		}
		seen <- consumer.EventOf(ctx)
		return nil
	}))
	id := b.emit(client.Event{Type: "test:effect"})
	b.enqueue(id+".2", asynq.MaxRetry(3))
	b.await(id+".2", asynq.TaskStateCompleted)
	e := <-seen
	if e.ID.String() != id || e.Replay != 2 || e.Type != "test:effect" || e.Queue != "default" || e.Headers["tenant"] != "a" || e.Attempt != 1 || e.Attempts != 4 {
		t.Errorf("the handler knows %+v", e)
	}
	// The handler gets a task that is no event, because PassOthers is set.
	b.enqueue("not-an-event")
	b.await("not-an-event", asynq.TaskStateCompleted)
	if e := <-seen; !e.ID.IsZero() || e.Type != "test:effect" {
		t.Errorf("the handler knows %+v", e)
	}
	if outside := consumer.EventOf(t.Context()); !outside.ID.IsZero() || outside.Type != "" {
		t.Errorf("outside of a handler there is %+v", outside)
	}
}

// A task whose payload cannot be decoded is archived at once, with the reason.
func TestAPayloadThatCannotBeDecoded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.serve(consumer.Handle(consumer.New(consumer.SQL(b.db), consumer.Options{}), func(context.Context, *sql.Tx, int) error {
		t.Error("the handler runs")
		return nil
	}))
	id := b.emit(client.Event{Type: "test:effect"})
	b.enqueue(id)
	if task := b.await(id, asynq.TaskStateArchived); task.Retried != 0 || task.LastErr == "" {
		t.Errorf("it was tried %d times more: %s", task.Retried, task.LastErr)
	}
}

// A nil handler is a mistake of the service, which must show when the service starts.
func TestANilHandler(t *testing.T) {
	t.Parallel()
	c := consumer.New(consumer.SQL(nil), consumer.Options{})
	for name, handler := range map[string]func() asynq.Handler{
		"one":      func() asynq.Handler { return consumer.Handle[payment](c, nil) },
		"batch":    func() asynq.Handler { return consumer.HandleBatch[payment](c, nil, consumer.Batch{}) },
		"together": func() asynq.Handler { return consumer.HandleTogether[payment](c, nil, consumer.Batch{}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			handler()
		}()
	}
}

// The consumer's own table is altered under load, again and again: every connection has plans for the table as it was.
func TestAChangedTableCostsNoAttempt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.exec("CREATE TABLE stock (item integer PRIMARY KEY, amount integer)", "INSERT INTO stock VALUES (1, 0)")
	b.serve(consumer.Handle(consumer.New(consumer.SQL(b.db), consumer.Options{}), func(ctx context.Context, tx *sql.Tx, _ []byte) error {
		rows, err := tx.QueryContext(ctx, "SELECT * FROM stock WHERE item = $1", 1)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
		}
		if err := rows.Err(); err != nil {
			return fmt.Errorf("look into the stock: %w", err)
		}
		_, err = tx.ExecContext(ctx, "UPDATE stock SET amount = amount + 1 WHERE item = $1", 1)
		return err
	}))
	const rounds, each = 10, 8
	var ids []string
	for round := range rounds {
		for range each {
			ids = append(ids, b.emit(client.Event{Type: "test:effect"}))
			b.enqueue(ids[len(ids)-1])
		}
		b.await(ids[len(ids)-1], asynq.TaskStateCompleted)
		b.exec(fmt.Sprintf("ALTER TABLE stock ADD COLUMN extra%d integer", round))
	}
	for _, id := range ids {
		if task := b.await(id, asynq.TaskStateCompleted); task.Retried != 0 {
			t.Errorf("task %s was charged %d attempts: %s", id, task.Retried, task.LastErr)
		}
	}
	if n := b.count("SELECT amount FROM stock"); n != rounds*each {
		t.Errorf("%d effects, want %d", n, rounds*each)
	}
}
