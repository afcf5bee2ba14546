package main

import (
	"context"

	"github.com/hibiken/asynq"
	"gorm.io/gorm"

	"outboxd/client"
	"outboxd/client/consumer"
	"outboxd/client/gormoutbox"
)

// Order is a row of the table of orders, and the payload of the order's event.
type Order struct {
	ID       int64
	Customer string
	Cents    int64
}

// Invoice is a row of the table of invoices.
type Invoice struct {
	OrderID int64 `gorm:"primaryKey;autoIncrement:false"`
	Cents   int64
}

const orderPaid client.Type[Order] = "order:paid"

// Pay stores an order and emits its event, in one transaction.
func Pay(ctx context.Context, db *gorm.DB, order *Order) error {
	return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(order).Error; err != nil {
			return err
		}
		event := orderPaid.Event(*order)
		event.OrderingKey = order.Customer
		_, err := client.Outbox{}.Emit(ctx, gormoutbox.Tx(tx), event)
		return err
	})
}

// Bill writes the invoice of an order. That happens once for each order.
func Bill(_ context.Context, tx *gorm.DB, order Order) error {
	return tx.Create(&Invoice{OrderID: order.ID, Cents: order.Cents}).Error
}

// Work bills orders until ctx ends.
func Work(ctx context.Context, db *gorm.DB, redis asynq.RedisConnOpt) error {
	mux := asynq.NewServeMux()
	mux.Handle(orderPaid.String(), consumer.Handle(consumer.New(gormoutbox.Database(db), consumer.Options{}), Bill))
	return consumer.Run(ctx, redis, asynq.Config{}, mux)
}
