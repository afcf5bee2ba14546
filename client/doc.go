// Package client writes events into the outbox of outboxd, in the caller's own
// transaction. It needs the standard library only.
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
// The packages below bring only what each is about: gormoutbox, pgxoutbox and
// oteloutbox what their names say, consumer the handlers of an Asynq worker, and
// outboxtest a running outboxd for tests.
package client
