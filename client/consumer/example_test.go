package consumer_test

import (
	"context"
	"database/sql"

	"github.com/hibiken/asynq"

	"outboxd/client/consumer"
)

// A worker of another service, which keeps its rows in the database of the
// outbox. Open the database with whatever driver the service uses.
func ExampleHandle() {
	work := func(ctx context.Context, db *sql.DB) error {
		c := consumer.New(consumer.SQL(db), consumer.Options{})
		mux := asynq.NewServeMux()
		mux.Handle("account:debited", consumer.Handle(c, func(ctx context.Context, tx *sql.Tx, p payment) error {
			_, err := tx.ExecContext(ctx, "UPDATE accounts SET balance = balance - $1", p.Amount)
			return err
		}))
		return consumer.Run(ctx, asynq.RedisClientOpt{Addr: "127.0.0.1:6379"}, asynq.Config{Queues: map[string]int{"accounts": 1}}, mux)
	}
	_ = work
}

// A worker whose rows are in a database of its own.
func ExampleNewRemote() {
	work := func(ctx context.Context, db *sql.DB, redis asynq.RedisConnOpt) error {
		c, err := consumer.NewRemote(consumer.SQL(db), redis, consumer.Options{})
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if err := c.CreateInbox(ctx); err != nil {
			return err
		}
		mux := asynq.NewServeMux()
		mux.Handle("account:debited", consumer.Handle(c, func(ctx context.Context, tx *sql.Tx, p payment) error {
			_, err := tx.ExecContext(ctx, "UPDATE accounts SET balance = balance - $1", p.Amount)
			return err
		}))
		return consumer.Run(ctx, redis, asynq.Config{}, mux)
	}
	_ = work
}

// A worker that handles up to 100 events in one transaction.
func ExampleHandleBatch() {
	work := func(ctx context.Context, db *sql.DB, redis asynq.RedisConnOpt) error {
		c := consumer.New(consumer.SQL(db), consumer.Options{})
		mux := asynq.NewServeMux()
		mux.Handle("account:debited", consumer.HandleBatch(c, func(ctx context.Context, tx *sql.Tx, payments []payment) error {
			sum := 0
			for _, p := range payments {
				sum += p.Amount
			}
			_, err := tx.ExecContext(ctx, "UPDATE accounts SET balance = balance - $1", sum)
			return err
		}, consumer.Batch{Max: 100}))
		return consumer.Run(ctx, redis, asynq.Config{Concurrency: 300}, mux)
	}
	_ = work
}
