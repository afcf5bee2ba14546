package lead

import (
	"context"
	"log/slog"
	"time"

	"outboxd/domain"
	"outboxd/relay/pace"
)

const (
	changesEvery  = 10 * time.Minute
	changesRetry  = time.Second
	changesAtOnce = 100
)

// changer carries out the changes of events that producers asked for and that need a
// look into the queue. One process does it for all.
type changer struct {
	requests domain.ChangeRequests
	log      *slog.Logger
	failing  *failing
	look     chan struct{} // there are requests
}

// run carries out all requests at once, and again at intervals and whenever it is
// asked to, until ctx ends. While a request waits for the end of a running attempt,
// run tries the request again soon.
func (c *changer) run(ctx context.Context, leads domain.StillLeads) {
	for failing := false; ctx.Err() == nil && leads(ctx) == nil; {
		left, err := c.carryOut(ctx)
		c.failing.note(ctx, dutyChanges, err)
		if err != nil && !failing && ctx.Err() == nil {
			c.log.Warn("could not cancel or reschedule what producers asked for", "retry_in", changesRetry, "error", err)
		}
		if failing = err != nil; failing || left {
			pace.Wait(ctx, changesRetry)
			continue
		}
		pace.WaitOr(ctx, changesEvery, c.look)
	}
}

// carryOut tries each request once. It returns left as true if some requests may
// still be open.
func (c *changer) carryOut(ctx context.Context) (left bool, err error) {
	counts := map[domain.ChangeAnswer]int{}
	defer func() {
		for answer, n := range counts {
			c.log.Info("carried out what producers asked for", "answer", answer, "events", n)
		}
	}()
	for after := (domain.ID{}); ctx.Err() == nil; {
		answers, last, err := c.requests.CarryOut(ctx, after, changesAtOnce)
		if err != nil {
			return true, err
		}
		for _, a := range answers {
			switch a.Answer {
			case domain.TooLateRunning, domain.TooLateBusy:
				left = true
			default:
				counts[a.Answer]++
			}
		}
		if after = last; after.IsZero() {
			return left, nil
		}
	}
	return true, nil
}
