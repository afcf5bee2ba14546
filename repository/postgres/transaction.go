package postgres

import (
	"context"
	"database/sql"
	"fmt"

	"gorm.io/gorm"
)

// StaleConnections is the largest number of times that a transaction is tried, if its
// connection turns out to be dead or if it loses a conflict. After a restart of the
// server, every connection of the pool fails once.
const StaleConnections = 4

// Transact calls the function work in a transaction. Transact calls it again if, before
// COMMIT was sent, the connection was lost, or the transaction failed because of
// another transaction or a change of a table. In these cases the transaction has
// changed nothing. So the function must be repeatable. After COMMIT was sent, Transact
// does not try again, because the outcome may not be known.
func (d *Database) Transact(ctx context.Context, doing string, work func(tx *gorm.DB) error) error {
	for attempt := 1; ; attempt++ {
		committing, err := d.TransactOnce(ctx, work)
		if err == nil {
			return nil
		}
		if committing || attempt >= StaleConnections || !IsConnectionLost(err) && !IsFleeting(err) || ctx.Err() != nil {
			return Translate(err, doing)
		}
		d.logger.DebugContext(ctx, "the database connection was lost, trying again", "doing", doing, "attempt", attempt, "error", err)
	}
}

// TransactOnce makes one attempt of Transact. committing says that COMMIT was sent: if
// there is also an error, the transaction may have been committed.
func (d *Database) TransactOnce(ctx context.Context, work func(tx *gorm.DB) error) (committing bool, err error) {
	tx := d.gorm.WithContext(ctx).Begin()
	if tx.Error != nil {
		return false, fmt.Errorf("begin: %w", tx.Error)
	}
	return commitAfter(tx, work)
}

func commitAfter(tx *gorm.DB, work func(tx *gorm.DB) error) (committing bool, err error) {
	// If the function panicked, Rollback frees the connection.
	defer func() {
		if !committing || err != nil {
			tx.Rollback()
		}
	}()
	if err := work(tx); err != nil {
		return false, err
	}
	if err := tx.Commit().Error; err != nil {
		return true, fmt.Errorf("commit: %w", err)
	}
	return true, nil
}

// Statements returns the connection of a GORM transaction, for statements without GORM.
// The connection executes statements exactly as they are written.
func Statements(tx *gorm.DB) gorm.ConnPool { return tx.Statement.ConnPool }

var _ gorm.ConnPool = (*sql.Tx)(nil)
