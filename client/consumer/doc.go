// Package consumer is for services that handle outboxd's events in an Asynq worker
// of their own. Each event takes effect once: the effect and its confirmation are
// one transaction.
//
//	c := consumer.New(consumer.SQL(db), consumer.Options{})
//	mux := asynq.NewServeMux()
//	mux.Handle(orderPaid.String(), consumer.Handle(c, func(ctx context.Context, tx *sql.Tx, order Order) error {
//		_, err := tx.ExecContext(ctx, "INSERT INTO invoices …")
//		return err
//	}))
//	err := consumer.Run(ctx, redis, asynq.Config{Queues: map[string]int{"default": 1}}, mux)
//
// SQL is for database/sql; gormoutbox.Database and pgxoutbox.Database are for GORM
// and pgx. NewRemote makes a consumer whose effects are in another database than the outbox.
package consumer
