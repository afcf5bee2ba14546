package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"outboxd/domain"
)

// poller claims, publishes and settles, one batch after another.
type poller struct {
	*Relay
}

// run works until ctx ends. A batch that was claimed is finished first.
//
// It never waits while there is work: a full batch is followed at once by the
// next one, and calls one more poller. A batch that was not full was all there
// was, so the poller sleeps.
func (p *poller) run(ctx context.Context) error {
	for p.queue.wait(ctx) == nil && p.database.wait(ctx) == nil {
		claimed, full, err := p.pass(ctx)
		switch {
		case errors.Is(err, context.Canceled) && ctx.Err() != nil:
			return nil //nolint:nilerr // the end of ctx is no failure
		case domain.ErrorCode(err) == domain.CodeUnavailable:
			p.database.trip(err)
			continue
		case err != nil:
			return err
		}
		p.waker.claimed(claimed)
		switch {
		case p.queue.fault() != nil:
		case full:
			p.waker.wake()
		default:
			p.waker.sleep(ctx, p.untilNextDue)
		}
	}
	return nil
}

// untilNextDue returns how long it is until the next event gets due, at most
// the poll interval.
func (p *poller) untilNextDue(ctx context.Context) time.Duration {
	due, err := p.o.Store.NextDue(ctx)
	if err != nil || due.IsZero() {
		return p.o.PollInterval
	}
	return min(max(time.Until(due), 0), p.o.PollInterval)
}

// pass is one claim, from beginning to end. It returns how many events it had
// and whether there may be more. A crash at any point of it leaves them due.
func (p *poller) pass(ctx context.Context) (claimed int, full bool, err error) {
	batch, err := p.claim(ctx)
	if err != nil || len(batch.Events()) == 0 {
		return 0, false, err
	}
	events := batch.Events()
	// Releasing after a successful Settle does nothing.
	defer func() {
		if err := batch.Release(); err != nil {
			p.log.Warn("could not release a batch", "error", err)
		}
	}()

	begun := time.Now()
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), batchPatience)
	defer cancel()
	outcomes, unreachable := p.judge(events, p.o.Publisher.Publish(work, events))
	if unreachable != nil {
		p.queue.trip(unreachable)
		p.cursor.lost(events[0].Cursor())
	}
	if !decided(outcomes) {
		return len(events), batch.Full(), nil
	}
	if err := batch.Settle(work, outcomes); err != nil {
		p.cursor.lost(events[0].Cursor())
		return len(events), batch.Full(), fmt.Errorf("settle %d events: %w", len(events), err)
	}
	p.metrics.settled(events, outcomes, batch.Now().Add(time.Since(begun)))
	p.report(events, outcomes)
	return len(events), batch.Full(), nil
}

// claim scans from the cursor, and from the beginning where that may find more.
func (p *poller) claim(ctx context.Context) (domain.Batch, error) {
	for {
		s := p.cursor.next(time.Now())
		batch, err := p.o.Store.Claim(ctx, s.from, p.o.BatchSize)
		if err != nil || !p.cursor.done(s, batch, time.Now()) {
			return batch, err
		}
	}
}

// judge turns the results of publishing into verdicts. An event that the queue
// never answered about stays as it was: an outage charges no attempt. One that
// was answered is settled even when the queue failed midway.
func (p *poller) judge(events []domain.Event, results []error) (outcomes []domain.Outcome, unreachable error) {
	outcomes = make([]domain.Outcome, len(events))
	for i, err := range results {
		attempts := events[i].Attempts + 1
		switch {
		case err == nil:
			outcomes[i].Verdict = domain.Delivered
		case domain.ErrorCode(err) == domain.CodeUnavailable:
			unreachable = err
		case domain.ErrorCode(err) == domain.CodeInvalid, attempts >= p.o.MaxAttempts:
			outcomes[i] = domain.Outcome{Verdict: domain.Dead, Err: err}
		default:
			outcomes[i] = domain.Outcome{Verdict: domain.Refused, Err: err, Delay: backoff(p.o.BackoffBase, p.o.BackoffMax, attempts)}
		}
	}
	return outcomes, unreachable
}

func decided(outcomes []domain.Outcome) bool {
	for _, o := range outcomes {
		if o.Verdict != domain.Untried {
			return true
		}
	}
	return false
}

// report logs what somebody may want to look into; deliveries are counted.
func (p *poller) report(events []domain.Event, outcomes []domain.Outcome) {
	for i, o := range outcomes {
		e := &events[i]
		log := p.log.With("event_id", e.ID, "event_type", e.Type, "queue", e.Queue)
		switch o.Verdict {
		case domain.Refused:
			log.Warn("the queue refused an event", "attempt", e.Attempts+1, "retry_in", o.Delay, "error", o.Err)
		case domain.Dead:
			log.Error("an event is dead", "attempt", e.Attempts+1, "error", o.Err)
		case domain.Delivered, domain.Untried:
		}
	}
}
