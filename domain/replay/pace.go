package replay

import (
	"context"
	"fmt"
	"time"

	"outboxd/domain"
)

// canaryCheck is how often the states of the canary's events are read.
const canaryCheck = 200 * time.Millisecond

// Pace says how carefully events are sent again: how many a second, and how many first, to see whether they succeed.
type Pace struct {
	Rate          int // events a second at most; 0: no limit
	Canary        int // events to send first; 0: none
	CanaryTimeout time.Duration
}

// CanaryOutcome counts the events of the canary by their state.
type CanaryOutcome struct {
	Sent int
	domain.ReplayOutcomes
	// Failed counts retried events whose attempt failed again, including those that died. Replayed events that fail
	// count as open until they are dead.
	Failed int
}

// Batch returns how many events to send at once, up to the given number. With a rate, a batch has the events of about
// a tenth of a second, and at least one event, so that the rate is even.
func (p *Pace) Batch(most int) int {
	if p.Rate <= 0 {
		return most
	}
	return min(most, max(1, p.Rate/10))
}

// Wait returns when the next batch may be sent. The parameters say when the last batch began and how many events it
// had. Without a rate it returns at once. Errors: those of ctx.
func (p *Pace) Wait(ctx context.Context, began time.Time, batch int) error {
	if p.Rate <= 0 {
		return nil
	}
	pause := time.NewTimer(time.Duration(batch)*time.Second/time.Duration(p.Rate) - time.Since(began))
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Watch reads what became of the canary's sent events, until all of them are confirmed, and calls the function tell
// each time. The parameter others names the events that are not in the canary, such as "dead letters". Errors: those
// of the function look, except CodeUnavailable, after which Watch calls look again; those of ctx; a *domain.Stopped
// if the canary did not succeed.
func (p *Pace) Watch(ctx context.Context, others string, sent int, look func(context.Context) (CanaryOutcome, error), tell func(CanaryOutcome)) error {
	canary := CanaryOutcome{Sent: sent, ReplayOutcomes: domain.ReplayOutcomes{Open: sent}}
	stopped := func(why string, args ...any) error {
		return &domain.Stopped{Err: fmt.Errorf(why+"; the other %s were left as they are", append(args, others)...)}
	}
	within, cancel := context.WithTimeout(ctx, p.CanaryTimeout)
	defer cancel()
	again := time.NewTicker(canaryCheck)
	defer again.Stop()
	for {
		seen, err := look(within)
		if err == nil {
			canary = seen
		} else if domain.ErrorCode(err) != domain.CodeUnavailable {
			return err
		}
		tell(canary)
		switch {
		case canary.Dead > 0:
			return stopped("the canary failed: %d of %d events died again", canary.Dead, canary.Sent)
		case canary.Failed > 0:
			return stopped("the canary failed: %d of %d events failed again", canary.Failed, canary.Sent)
		case canary.Confirmed == canary.Sent:
			return nil
		}
		select {
		case <-again.C:
		case <-within.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return stopped("the canary is undecided: %d of %d events were not confirmed within %v", canary.Open, canary.Sent, p.CanaryTimeout)
		}
	}
}
