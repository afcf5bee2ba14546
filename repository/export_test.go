package repository

import (
	"context"
	"time"

	"gorm.io/gorm"

	"outboxd/domain"
	"outboxd/repository/postgres"
)

// ClaimStatement is the statement that Claim sends, without and with history.
func ClaimStatement(history bool) string {
	if history {
		return claimWithHistorySQL
	}
	return claimSQL
}

// Begin begins a transaction as a producer's own.
func Begin(ctx context.Context, db *postgres.Database) *gorm.DB {
	return db.GORM().WithContext(ctx).Begin()
}

// SearchStatement is the statement of one step of a search.
var SearchStatement = searchSQL

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
		"measurement":      {measureSQL, nil, domain.HeldKeysCounted, countLimit, [16]byte{1}, entriesLimit},
		"dead groups":      {deadGroupsSQL, 10_000, maxGroups},
		"a small group":    append([]any{listDeadSQL}, append(deadArgs(domain.DeadFilter{Type: "test:a", ErrorForm: "none"}), time.Time{}, [16]byte{}, 50)...),
		"actions":          {actionsSQL, 20},
	}
}

// CountLimit and EntriesLimit are how many rows a measurement counts at most, of
// a table and of the account's entries.
const (
	CountLimit   = countLimit
	EntriesLimit = entriesLimit
)

// WithLeaderTerms shortens the time after which a silent leader is replaced.
func (h *Housekeeping) WithLeaderTerms(silence, word, retry time.Duration) *Housekeeping {
	h.terms = leaderTerms{silence: silence, word: word, retry: retry}
	return h
}
