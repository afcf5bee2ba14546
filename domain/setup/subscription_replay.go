package setup

import (
	"context"
	"time"
)

// SubscriptionReplay is the progress of a replay to a subscription. A replay makes deliveries of older events: of
// those that match, were emitted since a given time, are still kept, and have no delivery to the subscription yet.
// Usually they were relayed before the subscription existed.
type SubscriptionReplay struct {
	Subscription string    `json:"subscription"`
	Since        time.Time `json:"since"` // events that were emitted from then on
	BegunAt      time.Time `json:"begun_at"`
	MovedAt      time.Time `json:"moved_at"` // when it last made progress
	Matched      int64     `json:"matched"`  // events, so far
	Made         int64     `json:"made"`     // deliveries; the other events had a delivery already, or the outbox refused theirs
	Refused      int64     `json:"refused"`  // events whose delivery the outbox refuses; the log says why
	EndedAt      time.Time `json:"ended_at,omitzero"`
}

// Ended reports whether all deliveries of the replay have been made.
func (r *SubscriptionReplay) Ended() bool { return !r.EndedAt.IsZero() }

// SubscriptionReplays lets the leader finish replays to subscriptions.
type SubscriptionReplays interface {
	// AbandonedReplays returns the names of subscriptions whose replay has not ended and has made no progress for
	// at least the given time.
	AbandonedReplays(ctx context.Context, after time.Duration) ([]string, error)
	// ContinueReplay continues a replay until it has ended. A replay may take hours, because it waits while the
	// relay is busy. The function tell, if not nil, is called with the progress. Errors: domain.CodeUnavailable.
	ContinueReplay(ctx context.Context, subscription string, tell func(SubscriptionReplay)) error
}
