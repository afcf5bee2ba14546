package repository

import (
	"context"

	"gorm.io/gorm"

	"outboxd/domain"
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

// PageStatements are what the pages and the measurement for /metrics ask, with
// their parameters; a search is in SearchStatement.
func PageStatements() map[string][]any {
	return map[string][]any{
		"standing":         {nowSQL, nil, domain.HeldKeysCounted, countLimit},
		"flows":            {flowsSQL},
		"relays":           {presentRelaysSQL},
		"history of a day": {historySQL, 86400.0, 300.0},
		"measurement":      {measureSQL, nil, domain.HeldKeysCounted, countLimit, [16]byte{1}},
		"dead groups":      {deadGroupsSQL, 10_000, maxGroups},
		"actions":          {actionsSQL, 20},
	}
}

// CountLimit is how many rows a measurement counts at most.
const CountLimit = countLimit
