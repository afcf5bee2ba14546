package domain

import (
	"context"
	"time"
)

// SubscriptionReplay is how far the deliveries of a subscription are made of what
// was relayed before it.
type SubscriptionReplay struct {
	Subscription string    `json:"subscription"`
	Since        time.Time `json:"since"` // events that were emitted from then on
	BegunAt      time.Time `json:"begun_at"`
	MovedAt      time.Time `json:"moved_at"` // when it last got on
	Matched      int64     `json:"matched"`  // events, so far
	Made         int64     `json:"made"`     // deliveries; the other events had theirs
	Refused      int64     `json:"refused"`  // events of which none can be made; the log says why
	EndedAt      time.Time `json:"ended_at,omitzero"`
}

// Ended is whether all deliveries are made.
func (r *SubscriptionReplay) Ended() bool { return !r.EndedAt.IsZero() }

// SubscriptionReplays are the replays to subscriptions, for the part of the leader
// that finishes them.
type SubscriptionReplays interface {
	// AbandonedReplays returns the names of the subscriptions whose replay has not ended
	// and has made no progress for so long.
	AbandonedReplays(ctx context.Context, after time.Duration) ([]string, error)
	// ContinueReplay goes on with a replay until it has ended. It may take hours, and
	// waits while the relay has much to do. tell, if not nil, hears how far it is.
	// Errors: CodeUnavailable.
	ContinueReplay(ctx context.Context, subscription string, tell func(SubscriptionReplay)) error
}
