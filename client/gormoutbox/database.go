package gormoutbox

import (
	"context"

	"gorm.io/gorm"

	"outboxd/client/transact"
)

// Database returns the database for consumer.New: handlers get a *gorm.DB that works in
// the transaction.
func Database(db *gorm.DB) transact.Database[*gorm.DB] { return database{db} }

type database struct{ db *gorm.DB }

// Begin implements transact.Database.
func (d database) Begin(ctx context.Context) (transact.Transaction[*gorm.DB], error) {
	tx := d.db.WithContext(ctx).Begin()
	if tx.Error != nil {
		return nil, tx.Error
	}
	return begun{tx}, nil
}

// MaxConns implements transact.Pool.
func (d database) MaxConns() int {
	pool, err := d.db.DB()
	if err != nil {
		return 0
	}
	return pool.Stats().MaxOpenConnections
}

type begun struct{ tx *gorm.DB }

func (b begun) Tx() *gorm.DB { return b.tx }

// QueryRow implements transact.Transaction. If db prepares statements (PrepareStmt), QueryRow uses the
// transaction below GORM's. The reason is a statement that cannot be prepared: GORM's QueryRowContext
// would drop the error and return a row whose Scan panics.
func (b begun) QueryRow(ctx context.Context, query string, arguments ...any) transact.Row {
	pool := b.tx.Statement.ConnPool
	if prepares, ok := pool.(*gorm.PreparedStmtTX); ok {
		pool = prepares.Tx
	}
	return pool.QueryRowContext(ctx, query, arguments...)
}

func (b begun) Commit(context.Context) error { return b.tx.Commit().Error }

func (b begun) Rollback(context.Context) error { return b.tx.Rollback().Error }
