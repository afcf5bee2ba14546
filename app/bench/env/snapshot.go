package env

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// HoldSnapshot takes a snapshot of the database now, and keeps it open until
// release is called.
func (e *Env) HoldSnapshot(ctx context.Context) (release func(), err error) {
	tx, err := e.Admin.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("hold a snapshot: %w", err)
	}
	release = func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }
	// Switch off the server's limit for idle transactions. PostgreSQL takes the
	// snapshot at the first query of a transaction and not at BEGIN.
	if _, err = tx.Exec(ctx, "SET LOCAL idle_in_transaction_session_timeout = 0"); err == nil {
		_, err = tx.Exec(ctx, "SELECT FROM outbox LIMIT 1")
	}
	if err != nil {
		release()
		return nil, fmt.Errorf("hold a snapshot: %w", err)
	}
	return release, nil
}
