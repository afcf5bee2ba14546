package consumer

import (
	"context"
	"time"
)

// rollbackPatience is how long a rollback may take. It bounds the wait for a server that
// is gone, or that acknowledges packets and never answers.
const rollbackPatience = 5 * time.Second

// begin begins a transaction. Call rollback at the end: it frees the connection, also if
// ctx has ended, and does nothing to a transaction that was committed. If the rollback
// fails or takes longer than rollbackPatience, the pool closes the connection.
func (c *Consumer[Tx]) begin(ctx context.Context) (tx Transaction[Tx], rollback func(), err error) {
	life, end := context.WithCancel(ctx)
	if tx, err = c.db.Begin(life); err != nil {
		end()
		return nil, nil, err
	}
	return tx, func() {
		defer end()
		patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackPatience)
		defer cancel()
		// The rollback of database/sql and of GORM takes no context. With pgx as the driver,
		// the end of the context with which the transaction began ends the rollback.
		defer context.AfterFunc(patient, end)()
		_ = tx.Rollback(patient)
	}, nil
}
