// Package transact says how package consumer uses a database. It is a package of its own so
// that a producer on GORM or on pgx does not import Asynq and a Redis client: gormoutbox and
// pgxoutbox import transact, and not consumer.
package transact

import "context"

// Database begins the transactions in which handlers run. Tx is the type of the
// transaction that a handler gets: *sql.Tx from consumer.SQL, *gorm.DB from
// gormoutbox.Database, pgx.Tx from pgxoutbox.Database. A Database is safe for
// concurrent use.
type Database[Tx any] interface {
	Begin(ctx context.Context) (Transaction[Tx], error)
}

// Pool is an additional interface of a Database that knows how large its pool is.
type Pool interface {
	// MaxConns returns how many connections the pool may have. 0: not bounded, or not known.
	MaxConns() int
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
