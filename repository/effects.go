package repository

import (
	"database/sql"

	"gorm.io/gorm"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

// effects is the domain.Effects.
type effects struct{ tx *gorm.DB }

// Tx implements domain.Effects.
func (e effects) Tx() *sql.Tx { return postgres.Statements(e.tx).(*sql.Tx) } // a transaction of GORM's on database/sql is nothing else

// TransactionOf returns the transaction that Inbox.Process hands to a handler as
// GORM has it. What is changed through it happens exactly once, as what is
// changed through Tx does. For effects that are not of Inbox.Process it is nil.
func TransactionOf(e domain.Effects) *gorm.DB {
	own, ok := e.(effects)
	if !ok {
		return nil
	}
	return own.tx
}
