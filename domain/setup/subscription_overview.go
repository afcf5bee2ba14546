package setup

import "context"

// SubscriptionStanding counts the deliveries of a subscription that wait in the database.
type SubscriptionStanding struct {
	Pending int64 // for a relay, or to be due
	Held    int64 // for the turn of their ordering key
	Dead    int64
}

// SubscriptionOverviews reads what the web pages show about subscriptions. Its methods change nothing and are safe
// for concurrent use. Errors: domain.CodeUnavailable.
type SubscriptionOverviews interface {
	// List returns all subscriptions, including removed ones, in the order of their names.
	List(ctx context.Context) ([]Subscription, error)
	// Find returns the subscription with this name. Errors: domain.CodeNotFound.
	Find(ctx context.Context, name string) (*Subscription, error)
	// Standings returns how many deliveries of each subscription wait, by subscription name. Standings reads up to
	// overview.StandingCounted rows of each table. The result complete is false if a table has that many rows, and
	// so perhaps more, which were not counted.
	Standings(ctx context.Context) (standings map[string]SubscriptionStanding, complete bool, err error)
	// Replay returns the last replay to a subscription; see SubscriptionReplay. It returns nil if there was none.
	Replay(ctx context.Context, name string) (*SubscriptionReplay, error)
}
