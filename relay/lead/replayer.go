package lead

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"outboxd/domain"
	"outboxd/relay/pace"
)

const (
	replayEvery = 10 * time.Minute
	replayRetry = 30 * time.Second
	// replayAbandoned is how long nobody has gone on with a replay until the leader does.
	replayAbandoned = 15 * time.Second
)

// replayer brings replays to subscriptions to their end whose command was killed.
// One process does it for all.
type replayer struct {
	replays domain.SubscriptionReplays
	log     *slog.Logger
	failing *failing
	look    chan struct{} // a replay has not ended
}

// run goes on with replays at once, then again and when it is asked to, until ctx ends.
func (r *replayer) run(ctx context.Context, leads domain.StillLeads) {
	for ctx.Err() == nil && leads(ctx) == nil {
		err := r.goOn(ctx)
		r.failing.note(ctx, dutyReplay, err)
		if err == nil {
			pace.WaitOr(ctx, replayEvery, r.look)
			continue
		}
		if ctx.Err() == nil {
			r.log.Warn("could not go on with a replay to a subscription", "retry_in", replayRetry, "error", err)
		}
		pace.Wait(ctx, replayRetry)
	}
}

// goOn goes on with each of them. One that fails keeps no other waiting.
func (r *replayer) goOn(ctx context.Context) error {
	names, err := r.replays.AbandonedReplays(ctx, replayAbandoned)
	if err != nil {
		return err
	}
	var failed error
	for _, name := range names {
		if ctx.Err() != nil {
			break
		}
		r.log.Info("goes on with a replay to a subscription", "subscription", name)
		var last domain.SubscriptionReplay
		if err := r.replays.ContinueReplay(ctx, name, func(now domain.SubscriptionReplay) { last = now }); err != nil {
			failed = errors.Join(failed, fmt.Errorf("subscription %s: %w", name, err))
			continue
		}
		r.log.Info("ended a replay to a subscription", "subscription", name, "deliveries", last.Made, "events", last.Matched)
	}
	return failed
}
