package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"outboxd/domain"
)

// Batch bounds one transaction of a replay or a discard, except the replay of a canary, which is one transaction for
// each type and error.
const Batch = 500

// canaryGrouped is how many dead letters are read to find out which types and errors there are.
const canaryGrouped = 10_000

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
	// Limited says that the change did not read all events that it may concern; see lives.Page.Incomplete.
	Limited bool
	Canary  *CanaryOutcome          // nil: none was sent
	Refused []*domain.ReplayRefused // stay as they are
}

// Run replays dead letters until none that matches the filter is left, and calls the function tell after each step.
// Run skips dead letters that the outbox refuses, and records how the action ended. Errors: those of DeadLetters and
// of ctx; a *domain.Stopped if the canary did not succeed; CodeInvalid if the outbox refused dead letters, of which
// the error names the first five.
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

// refusal returns an error that names the refused dead letters and ends with the given text. It returns nil if none
// was refused.
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
	replayed, err := r.sendCanary(ctx)
	p.Changed += int64(len(replayed))
	if refused, one := errors.AsType[*domain.ReplayRefused](err); one {
		tell(*p)
		return &domain.Stopped{Err: fmt.Errorf("the canary failed: the outbox refuses %w; the dead letters that are not in the canary were left as they are", refused)}
	}
	if err != nil || len(replayed) == 0 {
		return err
	}
	look := func(ctx context.Context) (CanaryOutcome, error) {
		outcomes, err := r.Letters.Outcomes(ctx, replayed, r.Unconfirmed)
		return CanaryOutcome{Sent: len(replayed), ReplayOutcomes: outcomes}, err
	}
	return r.Watch(ctx, "dead letters", len(replayed), look, func(canary CanaryOutcome) {
		p.Canary = &canary
		tell(*p)
	})
}

// sendCanary replays the canary: dead letters of as many types and errors as fit into it, so that a handler that
// fails with only some of them is noticed. The newest dead letters say which types and errors there are.
func (r *Replay) sendCanary(ctx context.Context) (replayed []domain.Replayed, err error) {
	groups, _, err := r.Letters.Groups(ctx, r.Filter, canaryGrouped)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(groups, func(a, b domain.DeadGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), a.FirstDied.Compare(b.FirstDied))
	})
	for i, share := range shares(groups, r.Canary) {
		of := r.Filter
		of.Type, of.ErrorForm, of.NoError, of.Stage = groups[i].Type, groups[i].ErrorForm, groups[i].ErrorForm == "", groups[i].Stage
		some, err := r.Letters.Replay(ctx, r.Action, of, share)
		replayed = append(replayed, some...)
		if err != nil {
			return replayed, err
		}
	}
	if len(replayed) == r.Canary {
		return replayed, nil
	}
	// Another command may have taken some, or the groups are of a standby that is behind.
	some, err := r.Letters.Replay(ctx, r.Action, r.Filter, r.Canary-len(replayed))
	return append(replayed, some...), err
}

// shares divides a canary of n dead letters among groups, one by one in turn. It returns how many each of the first
// groups gets, which is at least 1.
func shares(groups []domain.DeadGroup, n int) []int {
	shares := make([]int, min(len(groups), n))
	for given := true; given; {
		given = false
		for i := range shares {
			if n > 0 && shares[i] < groups[i].Count {
				shares[i]++
				n--
				given = true
			}
		}
	}
	return shares
}

// DiscardAll discards dead letters until none that matches the filter is left, and calls the function tell after each
// step. It records how the action ended. Errors: those of DeadLetters.Discard.
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
