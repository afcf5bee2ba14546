package lead

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"outboxd/domain"
	"outboxd/relay/pace"
)

const (
	changesEvery = 10 * time.Minute
	changesRetry = time.Second
	// changesAtOnce is how many requests one transaction carries out at most. The
	// transaction asks Redis before it commits. Until then, handlers of the events and
	// producers that ask again wait for it.
	changesAtOnce = 10
)

// changer carries out the changes of events that producers asked for and that need a look
// into Redis. One process carries them out for all.
type changer struct {
	requests domain.ChangeRequests
	log      *slog.Logger
	failing  *failing
	look     chan struct{} // raised when there may be requests
}

// run carries out all requests when it begins, then at intervals and whenever look is raised, until
// ctx ends. While a request waits for the end of a running attempt, the request is tried again
// soon.
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

// carryOut tries each request once. It returns true if some requests may still be open. After an
// error of the queue, carryOut no longer asks the queue, but still ends the requests that do not
// need the queue.
func (c *changer) carryOut(ctx context.Context) (left bool, err error) {
	counts := map[domain.ChangeAnswer]int{}
	defer func() {
		for answer, n := range counts {
			c.log.Info("carried out what producers asked for", "answer", answer, "events", n)
		}
	}()
	for after := (domain.ID{}); ctx.Err() == nil; {
		out, failed := c.requests.CarryOut(ctx, after, changesAtOnce, err == nil)
		if failed != nil {
			return true, cmp.Or(err, failed)
		}
		err = cmp.Or(err, out.Queue)
		for _, a := range out.Changes {
			switch {
			case a.Answer == domain.TooLateRunning, a.Answer == domain.TooLateBusy,
				a.Answer == domain.TooLateInFlight && err != nil:
				left = true
			default:
				counts[a.Answer]++
			}
		}
		if after = out.Last; after.IsZero() {
			return left, err
		}
	}
	return true, err
}
