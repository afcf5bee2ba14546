package lead

import (
	"context"
	"log/slog"
	"time"

	"outboxd/domain"
	"outboxd/relay/pace"
)

// Acknowledging has what the leader needs to confirm events whose consumers have another database. Such consumers
// write acknowledgements to Redis.
type Acknowledging struct {
	// Open connects to Redis. The leader closes the result.
	Open   func() (domain.Acknowledgements, error)
	Events domain.AcknowledgedEvents
}

// acknowledgePause is the pause after follow has returned an error.
const acknowledgePause = time.Second

// acknowledger confirms acknowledged events. acknowledger runs in the leader, because one process is enough; a
// second acknowledger would do no harm.
type acknowledger struct {
	o       Acknowledging
	log     *slog.Logger
	failing *failing
	paused  func() bool // reports whether the relay has stopped using PostgreSQL or Redis because of an outage
	silent  bool        // the failure has been reported
}

// run confirms until ctx ends.
func (a *acknowledger) run(ctx context.Context, leads domain.StillLeads) {
	for ctx.Err() == nil {
		err := a.follow(ctx, leads)
		if ctx.Err() != nil {
			return
		}
		a.report(ctx, err)
		pace.Wait(ctx, acknowledgePause)
	}
}

// report warns once that confirming fails. An outage is reported elsewhere. So this method warns of an unreachable
// server only if the cause is a missing right that only the acknowledger needs. Two errors are no failure: another
// leader was faster, or the database may have gone back to an earlier state.
func (a *acknowledger) report(ctx context.Context, err error) {
	level := slog.LevelWarn
	if domain.ErrorCode(err) == domain.CodeUnavailable && (!isRefused(err) || a.paused()) || domain.ErrorCode(err) == domain.CodeConflict {
		level = slog.LevelDebug
	} else {
		a.failing.note(ctx, dutyAcknowledge, err)
		if a.silent {
			level = slog.LevelDebug
		}
		a.silent = true
	}
	a.log.Log(ctx, level, "could not confirm what consumers with another database acknowledged", "again_in", acknowledgePause, "error", err)
}

// follow reads and confirms acknowledgements, from the stored position on, until an error occurs.
func (a *acknowledger) follow(ctx context.Context, leads domain.StillLeads) error {
	queue, err := a.o.Open()
	if err != nil {
		return err
	}
	// A read that waits for Redis does not notice the end of ctx, so Close interrupts it.
	defer context.AfterFunc(ctx, func() { _ = queue.Close() })()
	defer func() { _ = queue.Close() }()
	position, err := a.o.Events.Position(ctx)
	if err != nil {
		return err
	}
	for {
		list, next, err := queue.Await(ctx, position)
		if err != nil {
			return err
		}
		if err := leads(ctx); err != nil {
			return err
		}
		if next != position {
			confirmed, err := a.o.Events.Acknowledge(ctx, list, position, next)
			if err != nil {
				return err
			}
			a.log.Debug("confirmed acknowledged events", "acknowledgements", len(list), "events", confirmed)
		}
		position, a.silent = next, false
		a.failing.note(ctx, dutyAcknowledge, nil)
	}
}
