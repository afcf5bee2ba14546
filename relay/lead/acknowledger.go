package lead

import (
	"context"
	"log/slog"
	"time"

	"outboxd/domain"
	"outboxd/relay/pace"
)

// Acknowledging is what the leader needs to confirm events of consumers with
// another database.
type Acknowledging struct {
	// Open connects to the queue. The leader closes the result.
	Open   func() (domain.Acknowledgements, error)
	Events domain.AcknowledgedEvents
}

// acknowledgePause is the pause after a failed attempt.
const acknowledgePause = time.Second

// acknowledger confirms acknowledged events. It runs in the leader, because one
// is enough; a second one would do no harm.
type acknowledger struct {
	o       Acknowledging
	log     *slog.Logger
	failing *failing
	paused  func() bool // reports whether a server cannot be reached
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

// report logs once that confirming fails. While a server is away other parts
// report that, so it logs only if a right is missing that nothing else needs. It is
// no failure if another leader was faster, or the database may have gone back.
func (a *acknowledger) report(ctx context.Context, err error) {
	level := slog.LevelWarn
	if _, known := domain.FindingOf(err); domain.ErrorCode(err) == domain.CodeUnavailable && (!known || a.paused()) || domain.ErrorCode(err) == domain.CodeConflict {
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

// follow reads acknowledgements from the stored position on, until something
// fails.
func (a *acknowledger) follow(ctx context.Context, leads domain.StillLeads) error {
	queue, err := a.o.Open()
	if err != nil {
		return err
	}
	// A waiting read does not notice the end of its context.
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
			a.log.Debug("confirmed what was acknowledged", "acknowledgements", len(list), "events", confirmed)
		}
		position, a.silent = next, false
		a.failing.note(ctx, dutyAcknowledge, nil)
	}
}
