package confirm

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
	held    bool // events wait for the turn of an event of this transaction; only ProcessAll sets it
}

// last adds a statement that is sent together with COMMIT, so that it costs no round trip
// of its own.
func (e effects) last(query string, args ...any) { e.opening.QueueLast(query, args...) }

// Tx implements domain.Effects.
func (e effects) Tx() *sql.Tx { return postgres.Statements(e.tx).(*sql.Tx) } // GORM's transaction on database/sql is always an *sql.Tx

// TransactionOf returns the GORM transaction in which Inbox.Process or Inbox.ProcessAll
// calls a handler. A change in this transaction is committed exactly once, like a change
// through Tx.
// TransactionOf returns nil for effects that do not come from this package.
func TransactionOf(e domain.Effects) *gorm.DB {
	own, ok := e.(effects)
	if !ok {
		return nil
	}
	return own.tx
}
