package pgxoutbox_test

import (
	"context"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"

	"outboxd/client"
	"outboxd/client/consumer"
	"outboxd/client/pgxoutbox"
)

type order struct {
	ID    int64
	Cents int64
}

const orderPaid client.Type[order] = "order:paid"

// An order and its event, in one transaction.
func ExampleTx() {
	pay := func(ctx context.Context, conn *pgx.Conn, o order) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "INSERT INTO orders VALUES ($1, $2)", o.ID, o.Cents); err != nil {
				return err
			}
			_, err := client.Outbox{}.Emit(ctx, pgxoutbox.Tx(tx), orderPaid.Event(o))
			return err
		})
	}
	_ = pay
}

// An invoice and the confirmation of the event, in one transaction. A *pgxpool.Pool
// is a Beginner.
func ExampleDatabase() {
	work := func(ctx context.Context, pool pgxoutbox.Beginner, redis asynq.RedisConnOpt) error {
		c := consumer.New(pgxoutbox.Database(pool), consumer.Options{})
		mux := asynq.NewServeMux()
		mux.Handle(orderPaid.String(), consumer.Handle(c, func(ctx context.Context, tx pgx.Tx, o order) error {
			_, err := tx.Exec(ctx, "INSERT INTO invoices VALUES ($1, $2)", o.ID, o.Cents)
			return err
		}))
		return consumer.Run(ctx, redis, asynq.Config{}, mux)
	}
	_ = work
}
