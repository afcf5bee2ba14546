package client_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"outboxd/client"
)

// An order and its event, in one transaction.
func ExampleOutbox_Emit() {
	pay := func(ctx context.Context, db *sql.DB) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		if _, err := tx.ExecContext(ctx, "INSERT INTO orders …"); err != nil {
			return err
		}
		event := orderPaid.Event(order{ID: 7})
		event.OrderingKey = "customer 7"
		if _, err := (client.Outbox{}).Emit(ctx, tx, event); err != nil {
			return err
		}
		return tx.Commit()
	}
	_ = pay
}

// A mistake in an event is found before anything is sent.
func ExampleRefusal() {
	var tx nothing // in real code, a *sql.Tx
	_, err := client.Outbox{}.Emit(context.Background(), tx, client.Event{Type: "order:paid", MaxRetry: new(-1)})
	if refusal, ok := errors.AsType[*client.Refusal](err); ok {
		fmt.Println(refusal.Field, refusal.Aborted)
		fmt.Println(err)
	}
	// Output:
	// MaxRetry false
	// the outbox refuses the event: MaxRetry is -1; it has to be from 0 to 2147483647 (nothing was sent, and the transaction can go on)
}

// EmitAll can write thousands of events in one statement.
func ExampleOutbox_EmitAll() {
	var tx nothing // in real code, a *sql.Tx
	events := []client.Event{orderPaid.Event(order{ID: 7}), orderPaid.Event(order{ID: 8})}
	ids, err := client.Outbox{Schema: "outboxd"}.EmitAll(context.Background(), tx, events)
	fmt.Println(len(ids), err)
	// Output: 2 <nil>
}
