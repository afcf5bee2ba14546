package consumer

import (
	"context"
	"database/sql"

	"outboxd/client/transact"
)

// Database begins the transactions in which handlers run; see transact.Database.
type Database[Tx any] = transact.Database[Tx]

// Transaction is a transaction that has begun.
type Transaction[Tx any] = transact.Transaction[Tx]

// Row is the one row of a statement. Scan returns the statement's error.
type Row = transact.Row

// SQL returns a Database for database/sql, with any driver.
func SQL(db *sql.DB) Database[*sql.Tx] { return sqlDatabase{db} }

type sqlDatabase struct{ db *sql.DB }

// Begin implements Database.
func (d sqlDatabase) Begin(ctx context.Context) (Transaction[*sql.Tx], error) {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	return sqlTransaction{tx}, nil
}

// MaxConns implements transact.Pool.
func (d sqlDatabase) MaxConns() int { return d.db.Stats().MaxOpenConnections }

type sqlTransaction struct{ tx *sql.Tx }

func (t sqlTransaction) Tx() *sql.Tx { return t.tx }

func (t sqlTransaction) QueryRow(ctx context.Context, query string, arguments ...any) Row {
	return t.tx.QueryRowContext(ctx, query, arguments...)
}

func (t sqlTransaction) Commit(context.Context) error { return t.tx.Commit() }

func (t sqlTransaction) Rollback(context.Context) error { return t.tx.Rollback() }
