package domain

import "context"

// SubscriptionStanding is how many deliveries of a subscription wait in the database.
type SubscriptionStanding struct {
	Pending int64 // for a relay, or to be due
	Held    int64 // for the turn of their ordering key
	Dead    int64
}

// SubscriptionOverviews are what pages show of subscriptions. Its methods change
// nothing and are safe for concurrent use. Errors: CodeUnavailable.
type SubscriptionOverviews interface {
	// List returns all subscriptions by name, removed ones among them.
	List(ctx context.Context) ([]Subscription, error)
	// Find returns the subscription of that name. Errors: CodeNotFound.
	Find(ctx context.Context, name string) (*Subscription, error)
	// Standings returns how many deliveries of each subscription wait, by its name.
	// complete is false if some were not counted: each table is looked at up to
	// StandingCounted rows.
	Standings(ctx context.Context) (standings map[string]SubscriptionStanding, complete bool, err error)
	// Replay returns the last replay to a subscription, nil if there was none.
	Replay(ctx context.Context, name string) (*SubscriptionReplay, error)
}
