// Package gormoutbox is for producers and consumers that use GORM.
package gormoutbox

import (
	"context"
	"database/sql"
	"errors"

	"gorm.io/gorm"

	"outboxd/client"
)

// ErrNoTransaction is the error for a *gorm.DB that is not in a transaction,
// because the event would be committed at once.
var ErrNoTransaction = errors.New("this *gorm.DB is not in a transaction: use the one that db.Transaction or db.Begin gives")

// Tx makes a client.Tx of a GORM transaction:
//
//	db.Transaction(func(tx *gorm.DB) error {
//		...
//		_, err := outbox.Emit(ctx, gormoutbox.Tx(tx), orderPaid.Event(order))
//		return err
//	})
func Tx(tx *gorm.DB) client.Tx { return transaction{tx} }

type transaction struct{ tx *gorm.DB }

// ExecContext implements client.Tx.
func (t transaction) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if _, inside := t.tx.Statement.ConnPool.(gorm.TxCommitter); !inside {
		return nil, ErrNoTransaction
	}
	return t.tx.Statement.ConnPool.ExecContext(ctx, query, args...)
}

// Commit implements client.Tx.
func (t transaction) Commit() error { return t.tx.Commit().Error }

// Rollback implements client.Tx.
func (t transaction) Rollback() error { return t.tx.Rollback().Error }
