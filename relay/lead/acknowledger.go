package lead

import (
	"context"
	"log/slog"
	"slices"
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

const (
	// acknowledgePause is the pause after follow has returned an error.
	acknowledgePause = time.Second
	// Late acknowledgements are tried again every latePause, lateAtOnce at a time: each may make the database wait for
	// a moment, and new acknowledgements wait meanwhile. While there are lateMost, no new ones are read.
	latePause  = time.Second
	lateAtOnce = 20
	lateMost   = 20_000
)

// reading says how far acknowledgements were read. Late acknowledgements were read, but another transaction has their
// events locked, and may stay open for hours. Until they are confirmed, the stored position is before the first of them.
// So the next leader reads them again, and those after them, which have no further effect.
type reading struct {
	stored string // the position in the database
	at     string // the position up to which this process has read
	late   []domain.Acknowledgement
	tried  time.Time // when late ones were last tried again
}

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
	r := &reading{stored: position, at: position}
	for {
		list, next := []domain.Acknowledgement(nil), r.at
		if len(r.late) < lateMost {
			if list, next, err = queue.Await(ctx, r.at); err != nil {
				return err
			}
		} else {
			pace.Wait(ctx, latePause)
		}
		if err := leads(ctx); err != nil {
			return err
		}
		if next != r.at {
			if err := a.confirm(ctx, r, list, r.late, next); err != nil {
				return err
			}
		}
		if len(r.late) > 0 && time.Since(r.tried) >= latePause {
			some := min(lateAtOnce, len(r.late))
			if err := a.confirm(ctx, r, r.late[:some], r.late[some:], r.at); err != nil {
				return err
			}
			r.tried = time.Now()
		}
		a.silent = false
		a.failing.note(ctx, dutyAcknowledge, nil)
	}
}

// confirm confirms the events of acknowledgements. The parameter at is the position up to which this process has then
// read. The parameter others has the late acknowledgements that are not in list.
func (a *acknowledger) confirm(ctx context.Context, r *reading, list, others []domain.Acknowledgement, at string) error {
	next := at
	if len(others) > 0 {
		next = r.stored
	}
	confirmed, locked, err := a.o.Events.Acknowledge(ctx, list, r.stored, next)
	if err != nil {
		return err
	}
	if r.at, r.late = at, slices.Concat(others, locked); len(r.late) == 0 {
		r.stored = at
	}
	a.log.Debug("confirmed acknowledged events", "acknowledgements", len(list), "events", confirmed, "locked", len(locked))
	return nil
}
