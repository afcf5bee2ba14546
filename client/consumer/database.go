package consumer

import (
	"context"
	"database/sql"
)

// Database begins the transactions in which handlers run. Tx is the type of the
// transaction that a handler gets: *sql.Tx from SQL, *gorm.DB from
// gormoutbox.Database, pgx.Tx from pgxoutbox.Database. A Database is safe for
// concurrent use.
type Database[Tx any] interface {
	Begin(ctx context.Context) (Transaction[Tx], error)
}

// Transaction is a transaction that has begun.
type Transaction[Tx any] interface {
	// Tx returns the transaction for the handler.
	Tx() Tx
	// QueryRow runs a statement that returns one row.
	QueryRow(ctx context.Context, query string, arguments ...any) Row
	Commit(ctx context.Context) error
	// Rollback does nothing after a commit.
	Rollback(ctx context.Context) error
}

// Row is the one row of a statement. Scan returns the statement's error.
type Row interface {
	Scan(into ...any) error
}

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

type sqlTransaction struct{ tx *sql.Tx }

func (t sqlTransaction) Tx() *sql.Tx { return t.tx }

func (t sqlTransaction) QueryRow(ctx context.Context, query string, arguments ...any) Row {
	return t.tx.QueryRowContext(ctx, query, arguments...)
}

func (t sqlTransaction) Commit(context.Context) error { return t.tx.Commit() }

func (t sqlTransaction) Rollback(context.Context) error { return t.tx.Rollback() }
