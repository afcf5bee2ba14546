package lead

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/relay/pace"
)

const (
	replayEvery = 10 * time.Minute
	replayRetry = 30 * time.Second
	// replayAbandoned is how long a replay must have made no progress before the leader continues it.
	replayAbandoned = 15 * time.Second
)

// replayer finishes a replay to a subscription if the command that began the replay ended early, for example because
// the command was killed. replayer runs in the leader.
type replayer struct {
	replays setup.SubscriptionReplays
	log     *slog.Logger
	failing *failing
	look    chan struct{} // raised when a replay has not ended
}

// run continues abandoned replays at once, then every replayEvery and when look is raised, until ctx ends.
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

// goOn continues every abandoned replay. If one replay fails, goOn still continues the others.
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
		var last setup.SubscriptionReplay
		if err := r.replays.ContinueReplay(ctx, name, func(now setup.SubscriptionReplay) { last = now }); err != nil {
			failed = errors.Join(failed, fmt.Errorf("subscription %s: %w", name, err))
			continue
		}
		r.log.Info("ended a replay to a subscription", "subscription", name, "deliveries", last.Made, "events", last.Matched)
	}
	return failed
}
