package search

import (
	"time"

	"outboxd/domain/figures"
	"outboxd/domain/lives"
	"outboxd/domain/overview"
)

// SearchStatement is the statement of one step of a search.
var SearchStatement = searchSQL

// CountStatement is the statement of one step of a count.
var CountStatement = countSQL

// HeldHeadsSQL finds the first held event of each ordering key.
const HeldHeadsSQL = heldHeadsSQL

// PageStatements returns the statements of the pages, with their parameters.
// The statement of a search is SearchStatement.
func PageStatements() map[string][]any {
	return map[string][]any{
		"standing":          {nowSQL, nil, lives.HeldKeysCounted, CountLimit},
		"flows":             {flowsSQL},
		"newest events":     {newestSQL, time.Now(), CountLimit},
		"died":              {diedSQL, CountLimit},
		"heals":             {healsSQL, overview.HealsNamed},
		"relays":            {presentRelaysSQL},
		"history of a day":  {windowSQL, 300.0, 86400.0},
		"history of a zoom": {betweenSQL, 10.0, time.Now().Add(-2 * time.Hour), time.Now()},

		"types and queues":  {pairsSQL, figures.Counted, time.Now().Add(-figures.Recent), figures.Long.Seconds(), pairsShown, time.Now().Add(-figures.Long)},
		"measured":          {measuredSQL, 300.0, 3600.0},
		"emitted of a day":  {emittedSQL, CountLimit, pairsShown},
		"history of a type": {figuresHistorySQL, 86400.0, 300.0, "test:a", ""},
		"paused queues":     {pausesSQL},
		"a paused queue":    {onRecordSQL, "q"},
	}
}
