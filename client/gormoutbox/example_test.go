package gormoutbox_test

import (
	"context"

	"github.com/hibiken/asynq"
	"gorm.io/gorm"

	"outboxd/client"
	"outboxd/client/consumer"
	"outboxd/client/gormoutbox"
)

type order struct {
	ID    int64
	Cents int64
}

type invoice struct {
	OrderID int64 `gorm:"primaryKey;autoIncrement:false"`
	Cents   int64
}

const orderPaid client.Type[order] = "order:paid"

// An order and its event, in one transaction.
func ExampleTx() {
	pay := func(ctx context.Context, db *gorm.DB, o *order) error {
		return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			if err := tx.Create(o).Error; err != nil {
				return err
			}
			_, err := client.Outbox{}.Emit(ctx, gormoutbox.Tx(tx), orderPaid.Event(*o))
			return err
		})
	}
	_ = pay
}

// An invoice and the confirmation of the event, in one transaction.
func ExampleDatabase() {
	work := func(ctx context.Context, db *gorm.DB, redis asynq.RedisConnOpt) error {
		c := consumer.New(gormoutbox.Database(db), consumer.Options{})
		mux := asynq.NewServeMux()
		mux.Handle(orderPaid.String(), consumer.Handle(c, func(_ context.Context, tx *gorm.DB, o order) error {
			return tx.Create(&invoice{OrderID: o.ID, Cents: o.Cents}).Error
		}))
		return consumer.Run(ctx, redis, asynq.Config{}, mux)
	}
	_ = work
}
