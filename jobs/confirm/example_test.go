package confirm_test

import (
	"context"
	"database/sql"
	"log"

	"github.com/hibiken/asynq"

	"outboxd/jobs/confirm"
)

// A worker of another service, which keeps its rows in the database of the
// outbox. Open the database with whatever driver the service uses.
func Example() {
	var db *sql.DB

	mux := asynq.NewServeMux()
	mux.Use(confirm.Middleware(db))
	mux.HandleFunc("account:debited", func(ctx context.Context, task *asynq.Task) error {
		_, err := confirm.Tx(ctx).ExecContext(ctx, "UPDATE accounts SET balance = balance - ($1::jsonb ->> 'amount')::numeric", string(task.Payload()))
		return err
	})

	server := asynq.NewServer(asynq.RedisClientOpt{Addr: "127.0.0.1:6379"}, asynq.Config{Queues: map[string]int{"accounts": 1}})
	if err := server.Run(mux); err != nil {
		log.Fatal(err)
	}
}
