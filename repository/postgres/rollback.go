package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// rollbackPatience is how long RollBack waits at most. It bounds the wait for a server
// that is gone, or that acknowledges packets and never answers.
const rollbackPatience = 5 * time.Second

// RollBack rolls a transaction back, also if ctx has ended. RollBack does nothing to a
// transaction that was committed. If the rollback fails or takes longer than 5 s, the
// pool closes the connection, and PostgreSQL ends the transaction.
func RollBack(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackPatience)
	defer cancel()
	_ = tx.Rollback(ctx)
}
