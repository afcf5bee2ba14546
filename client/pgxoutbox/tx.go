// Package pgxoutbox is for producers and consumers that use pgx.
package pgxoutbox

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/jackc/pgx/v5"

	"outboxd/client"
)

// Tx makes a client.Tx of a pgx transaction:
//
//	outbox.Emit(ctx, pgxoutbox.Tx(tx), orderPaid.Event(order))
func Tx(tx pgx.Tx) client.Tx { return transaction{tx} }

type transaction struct{ tx pgx.Tx }

// ExecContext implements client.Tx.
func (t transaction) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	tag, err := t.tx.Exec(ctx, query, args...)
	return driver.RowsAffected(tag.RowsAffected()), err
}

// Commit implements client.Tx.
func (t transaction) Commit() error { return t.tx.Commit(context.Background()) }

// Rollback implements client.Tx.
func (t transaction) Rollback() error { return t.tx.Rollback(context.Background()) }
