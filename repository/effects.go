package repository

import (
	"gorm.io/gorm"

	"outboxd/domain"
)

// TransactionOf returns the transaction behind the effects that Inbox.Process
// hands out, for handlers that change more than domain.Effects knows of: what
// they do through it happens exactly once like the rest. It returns nil for
// anybody else's effects.
func TransactionOf(e domain.Effects) *gorm.DB {
	own, ok := e.(*effects)
	if !ok {
		return nil
	}
	return own.tx
}
