package search

import "outboxd/domain"

// SearchStatement is the statement of one step of a search.
var SearchStatement = searchSQL

// HeldHeadsSQL finds the held events that are next in turn.
const HeldHeadsSQL = heldHeadsSQL

// PageStatements are what the pages ask, with their parameters; a search is in
// SearchStatement.
func PageStatements() map[string][]any {
	return map[string][]any{
		"standing":         {nowSQL, nil, domain.HeldKeysCounted, CountLimit},
		"flows":            {flowsSQL},
		"relays":           {presentRelaysSQL},
		"history of a day": {historySQL, 86400.0, 300.0},
	}
}
