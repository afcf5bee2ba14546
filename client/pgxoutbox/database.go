package pgxoutbox

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"outboxd/client/transact"
)

// Beginner begins transactions, as *pgxpool.Pool does.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Database returns the database for consumer.New: handlers get a pgx.Tx.
func Database(pool Beginner) transact.Database[pgx.Tx] { return database{pool} }

type database struct{ pool Beginner }

// Begin implements transact.Database.
func (d database) Begin(ctx context.Context) (transact.Transaction[pgx.Tx], error) {
	tx, err := d.pool.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return begun{tx}, nil
}

// MaxConns implements transact.Pool.
func (d database) MaxConns() int {
	if pool, ok := d.pool.(*pgxpool.Pool); ok {
		return int(pool.Stat().MaxConns())
	}
	return 0
}

type begun struct{ tx pgx.Tx }

func (b begun) Tx() pgx.Tx { return b.tx }

func (b begun) QueryRow(ctx context.Context, query string, arguments ...any) transact.Row {
	return b.tx.QueryRow(ctx, query, arguments...)
}

func (b begun) Commit(ctx context.Context) error { return b.tx.Commit(ctx) }

func (b begun) Rollback(ctx context.Context) error { return b.tx.Rollback(ctx) }
