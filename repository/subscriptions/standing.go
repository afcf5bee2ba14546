package subscriptions

import (
	"context"

	"github.com/jackc/pgx/v5"

	"outboxd/domain/lives"
	"outboxd/domain/overview"
	"outboxd/domain/setup"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

var _ setup.SubscriptionOverviews = (*Store)(nil)

// No table has an index by subscription, so the query reads a bounded number of rows of
// each table.
var standingsSQL = stored.Places.Only(lives.StatePending, lives.StateHeld, lives.StateDead).Each(`
SELECT {state}, coalesce(subscription, ''), count(*) FROM (SELECT subscription FROM {table} LIMIT $1) AS few GROUP BY 2`, " UNION ALL ")

// Standings implements setup.SubscriptionOverviews.
func (s *Store) Standings(ctx context.Context) (standings map[string]setup.SubscriptionStanding, complete bool, err error) {
	const doing = "count the deliveries of subscriptions"
	rows, err := s.db.Pool().Query(ctx, standingsSQL, overview.StandingCounted)
	if err != nil {
		return nil, false, postgres.Translate(err, doing)
	}
	standings = map[string]setup.SubscriptionStanding{}
	looked := map[lives.State]int64{}
	var state lives.State
	var name string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&state, &name, &n}, func() error {
		looked[state] += n
		if name == "" {
			return nil
		}
		of := standings[name]
		switch state {
		case lives.StatePending:
			of.Pending = n
		case lives.StateHeld:
			of.Held = n
		default:
			of.Dead = n
		}
		standings[name] = of
		return nil
	})
	complete = true
	for _, total := range looked {
		complete = complete && total < overview.StandingCounted
	}
	return standings, complete, postgres.Translate(err, doing)
}
