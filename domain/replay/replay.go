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

// Batch bounds one transaction of a replay or a discard, except the replay of a canary, which is one transaction.
const Batch = 500

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
	Letters domain.DeadLetters
	Action  *domain.Action
	Filter  domain.DeadFilter
	Pace
	Unconfirmed []string // event types that no consumer confirms
}

// Progress says how many events a change has changed so far, such as a replay, a discard or a retry.
type Progress struct {
	Changed int64
	TooLate int64 // of a cancellation: events that could not be cancelled
	// Meanwhile counts what a retry left out: tasks that were tried, or ended otherwise, after they were listed.
	Meanwhile int64
	Canary    *CanaryOutcome          // nil: none was sent
	Refused   []*domain.ReplayRefused // stay as they are
}

// Run replays dead letters until none that matches the filter is left, and calls tell after each step. Run skips
// dead letters that the outbox refuses, and records how the action ended. Errors: those of DeadLetters and of ctx; a
// *domain.Stopped if the canary did not succeed; CodeInvalid if the outbox refused dead letters, of which the error
// names the first five.
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
	batch := r.Batch(Batch)
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
		if err := r.Wait(ctx, began, batch); err != nil {
			return err
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
	look := func(ctx context.Context) (CanaryOutcome, error) {
		outcomes, err := r.Letters.Outcomes(ctx, replayed, r.Unconfirmed)
		return CanaryOutcome{Sent: len(replayed), ReplayOutcomes: outcomes}, err
	}
	return r.Watch(ctx, "dead letters", len(replayed), look, func(canary CanaryOutcome) {
		p.Canary = &canary
		tell(*p)
	})
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
