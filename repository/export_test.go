package repository

import (
	"context"

	"gorm.io/gorm"
)

// ClaimStatement is the statement that Claim sends, without and with history.
func ClaimStatement(history bool) string {
	if history {
		return claimWithHistorySQL
	}
	return claimSQL
}

// Begin begins a transaction as a producer's own.
func Begin(ctx context.Context, db *Database) *gorm.DB { return db.gorm.WithContext(ctx).Begin() }

// SearchStatement is the statement of one step of a search.
const SearchStatement = searchSQL

// HeldHeadsSQL finds the held events that are next in turn.
const HeldHeadsSQL = heldHeadsSQL
