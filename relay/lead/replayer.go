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
	replayEvery = 30 * time.Second
	// replayAbandoned is how long nobody has gone on with a replay until the leader does.
	replayAbandoned = 15 * time.Second
)

// replayer brings replays to subscriptions to their end whose command was killed.
// One process does it for all.
type replayer struct {
	replays domain.SubscriptionReplays
	log     *slog.Logger
	failing *failing
}

// run looks at once and then again and again, until ctx ends.
func (r *replayer) run(ctx context.Context, leads domain.StillLeads) {
	for leads(ctx) == nil {
		err := r.look(ctx)
		r.failing.note(ctx, dutyReplay, err)
		if err != nil && ctx.Err() == nil {
			r.log.Warn("could not go on with a replay to a subscription", "retry_in", replayEvery, "error", err)
		}
		if pace.Wait(ctx, replayEvery); ctx.Err() != nil {
			return
		}
	}
}

// look goes on with each of them. One that fails keeps no other waiting.
func (r *replayer) look(ctx context.Context) error {
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
