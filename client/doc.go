// Package client writes events into the outbox of outboxd, in the caller's
// transaction. The package imports only the standard library.
//
//	var orderPaid client.Type[Order] = "order:paid"
//	var outbox client.Outbox
//
//	tx, err := db.BeginTx(ctx, nil)
//	// ... the order's own rows ...
//	_, err = outbox.Emit(ctx, tx, orderPaid.Event(order))
//	err = tx.Commit()
//
// The event exists if and only if the transaction commits. From then on outboxd
// relays it to Asynq.
//
// Services also use these packages: gormoutbox, pgxoutbox and oteloutbox connect to the
// libraries in their names, consumer has handlers for an Asynq worker, and outboxtest runs
// an outboxd for tests. The other packages in this module are for package consumer and for
// outboxd itself; pipeline and outage are useful alone, too.
package client
