package repository

import (
	"database/sql"

	"gorm.io/gorm"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

// effects implements domain.Effects.
type effects struct {
	tx      *gorm.DB
	opening *postgres.Opening
	held    bool // there are events that wait for their turn
}

// last runs a statement before the transaction commits, without a round trip of its own.
func (e effects) last(query string, args ...any) { e.opening.QueueLast(query, args...) }

// Tx implements domain.Effects.
func (e effects) Tx() *sql.Tx { return postgres.Statements(e.tx).(*sql.Tx) } // GORM's transaction on database/sql is always an *sql.Tx

// TransactionOf returns the transaction that Inbox.Process hands to a handler,
// for GORM. Changes through it happen exactly once, as changes through Tx do. It
// is nil for effects that do not come from Inbox.Process.
func TransactionOf(e domain.Effects) *gorm.DB {
	own, ok := e.(effects)
	if !ok {
		return nil
	}
	return own.tx
}
