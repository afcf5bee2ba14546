package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"outboxd/domain"
)

// Batch bounds one transaction of a replay or a discard.
const Batch = 500

// canaryCheck is how often the states of the canary's events are read.
const canaryCheck = 200 * time.Millisecond

// After refusedInARow refused dead letters without a successful replay in between, Run
// assumes that the outbox refuses all, and stops. An error names at most refusedNamed of
// the refused dead letters.
const (
	refusedInARow = 100
	refusedNamed  = 5
)

// Replay puts dead letters back into the outbox, batch by batch. With Canary set, Replay
// first replays that many dead letters, and goes on only if they succeed.
type Replay struct {
	Letters       domain.DeadLetters
	Action        *domain.Action
	Filter        domain.DeadFilter
	Rate          int // events a second at most; 0: no limit
	Canary        int // events to send first; 0: none
	CanaryTimeout time.Duration
	Unconfirmed   []string // event types that no consumer confirms
}

// Progress says how many dead letters a replay or a discard has changed so far.
type Progress struct {
	Changed int64
	TooLate int64                   // of a cancellation: events that could not be cancelled
	Canary  *CanaryOutcome          // nil: none was sent
	Refused []*domain.ReplayRefused // stay as they are
}

// CanaryOutcome counts the events of the canary by their state.
type CanaryOutcome struct {
	Replayed int
	domain.ReplayOutcomes
}

// Run replays dead letters until none that matches the filter is left, and calls tell after each step. Run skips
// dead letters that the outbox refuses, and records how the action ended. Errors: those of DeadLetters and of ctx; a
// *domain.Stopped if the canary did not succeed; CodeInvalid if the outbox refused dead letters, which the error names.
func (r *Replay) Run(ctx context.Context, tell func(Progress)) error {
	return r.Letters.End(ctx, r.Action, r.run(ctx, tell))
}

func (r *Replay) run(ctx context.Context, tell func(Progress)) error {
	var p Progress
	if r.Canary > 0 {
		if err := r.canary(ctx, &p, tell); err != nil {
			return err
		}
	}
	batch := Batch
	if r.Rate > 0 { // some batches a second, so that the rate is even
		batch = min(Batch, max(1, r.Rate/10))
	}
	for inARow := 0; ; {
		began := time.Now()
		replayed, err := r.Letters.Replay(ctx, r.Action, r.Filter, batch)
		p.Changed += int64(len(replayed))
		refused, one := errors.AsType[*domain.ReplayRefused](err)
		if one {
			p.Refused = append(slices.Clip(p.Refused), refused)
			r.Filter.Except = append(slices.Clip(r.Filter.Except), refused.ID)
		}
		tell(p)
		switch {
		case one:
			if inARow++; inARow == refusedInARow {
				return refusal(p.Refused, "; the other dead letters were left as they are")
			}
			continue
		case err != nil:
			return err
		case len(replayed) == 0:
			return refusal(p.Refused, "")
		}
		inARow = 0
		if r.Rate > 0 {
			pause := time.NewTimer(time.Duration(batch)*time.Second/time.Duration(r.Rate) - time.Since(began))
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
				return ctx.Err()
			}
		}
	}
}

// refusal returns an error that names the refused dead letters and ends with rest; nil if none was refused.
func refusal(refused []*domain.ReplayRefused, rest string) error {
	if len(refused) == 0 {
		return nil
	}
	var list strings.Builder
	for i, r := range refused {
		if i == refusedNamed {
			fmt.Fprintf(&list, "; and %d more", len(refused)-i)
			break
		}
		fmt.Fprintf(&list, "; %v", r)
	}
	return domain.Errorf(domain.CodeInvalid, "the outbox refuses dead letters, which stay as they are: %d%s%s", len(refused), list.String(), rest)
}

// canary replays a few dead letters and waits until all of them are confirmed.
// Any other outcome is an error.
func (r *Replay) canary(ctx context.Context, p *Progress, tell func(Progress)) error {
	replayed, err := r.Letters.Replay(ctx, r.Action, r.Filter, r.Canary)
	if refused, one := errors.AsType[*domain.ReplayRefused](err); one {
		return &domain.Stopped{Err: fmt.Errorf("the canary failed: the outbox refuses %w; no other dead letter was replayed", refused)}
	}
	if err != nil || len(replayed) == 0 {
		return err
	}
	p.Changed += int64(len(replayed))
	canary := CanaryOutcome{Replayed: len(replayed), ReplayOutcomes: domain.ReplayOutcomes{Open: len(replayed)}}
	within, cancel := context.WithTimeout(ctx, r.CanaryTimeout)
	defer cancel()
	look := time.NewTicker(canaryCheck)
	defer look.Stop()
	for {
		outcomes, err := r.Letters.Outcomes(within, replayed, r.Unconfirmed)
		if err == nil {
			canary.ReplayOutcomes = outcomes
		} else if domain.ErrorCode(err) != domain.CodeUnavailable {
			return err
		}
		p.Canary = new(canary)
		tell(*p)
		switch {
		case canary.Dead > 0:
			return stopped("the canary failed: %d of %d events died again", canary.Dead, canary.Replayed)
		case canary.Confirmed == canary.Replayed:
			return nil
		}
		select {
		case <-look.C:
		case <-within.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return stopped("the canary is undecided: %d of %d events were not confirmed within %v", canary.Open, canary.Replayed, r.CanaryTimeout)
		}
	}
}

func stopped(why string, args ...any) error {
	return &domain.Stopped{Err: fmt.Errorf(why+"; the other dead letters were left as they are", args...)}
}

// DiscardAll discards dead letters until none that matches the filter is left, and calls tell after each step. It
// records how the action ended. Errors: those of DeadLetters.Discard.
func DiscardAll(ctx context.Context, letters domain.DeadLetters, action *domain.Action, filter domain.DeadFilter, tell func(Progress)) error {
	return letters.End(ctx, action, discardAll(ctx, letters, action, filter, tell))
}

func discardAll(ctx context.Context, letters domain.DeadLetters, action *domain.Action, filter domain.DeadFilter, tell func(Progress)) error {
	var p Progress
	for {
		n, err := letters.Discard(ctx, action, filter, Batch)
		p.Changed += int64(n)
		tell(p)
		if err != nil || n == 0 {
			return err
		}
	}
}
