package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"outboxd/domain"
	"outboxd/domain/crashpoint"
	"outboxd/relay/wakeup"
)

// poller claims, publishes and commits batches of events, one after another.
type poller struct {
	*Relay
	in passTime
}

// run works until ctx ends. A batch that is already claimed is still finished.
//
// If more events may be due after a pass, the poller claims the next batch at once, and wakes one more poller.
// Otherwise the poller sleeps. While Redis or the database is down, the poller waits for the breaker.
func (p *poller) run(ctx context.Context) error {
	woken := false
	for p.queue.wait(ctx) == nil && p.database.wait(ctx) == nil {
		claimed, more, err := p.pass(ctx)
		switch {
		case errors.Is(err, context.Canceled) && ctx.Err() != nil:
			return nil //nolint:nilerr // the end of ctx is no failure
		case domain.ErrorCode(err) == domain.CodeUnavailable:
			p.database.trip(err)
			continue
		case err != nil:
			return err
		}
		p.database.succeeded()
		p.waker.Claimed(claimed)
		switch {
		case p.queue.fault() != nil:
		case more:
			p.waker.Wake()
		default:
			woken = p.sleep(ctx, woken || claimed > 0)
		}
	}
	return nil
}

// calmNap is the shortest sleep after which even a busy poller checks whether an event is due, instead of claiming
// at once.
const calmNap = time.Second

// sleep returns when there may be work. It returns true after a wake-up. After a long nap, and after the first nap
// that follows a wake-up or a claim, the poller first checks whether an event is due, and sleeps again if none is. A
// claim costs an idle database more than this check, and would delay the next event of a steady flow. If an event is
// due, the check costs an additional round trip before the claim. While the relay is busy, most naps end with work,
// so the poller does not check.
func (p *poller) sleep(ctx context.Context, news bool) (woken bool) {
	next := p.untilNextDue
	for {
		begun := time.Now()
		if woken = p.waker.Sleep(ctx, news, next); woken || ctx.Err() != nil {
			return woken
		}
		calm := time.Since(begun) >= calmNap
		if !calm && (!news || p.waker.Busy()) {
			return false
		}
		until, idle := p.nothingDue(ctx, calm)
		if !idle {
			return false
		}
		news = false
		next = func(ctx context.Context) time.Duration {
			defer func() { until = 0 }()
			if until > 0 {
				return until
			}
			return p.untilNextDue(ctx)
		}
	}
}

// nothingDue checks whether no event is due. If no event is due, nothingDue returns true and the time until there
// may be work, at most PollInterval. nothingDue returns false if an event is due within wakeup.NapFirst, or if the
// database does not answer.
//
// If the parameter calm is true, the check includes events that became due long ago, and nothingDue also returns
// false if a sweep is owed. If calm is false and a sweep is owed, the next sleep ends when the sweep is allowed.
func (p *poller) nothingDue(ctx context.Context, calm bool) (until time.Duration, idle bool) {
	longest := p.o.PollInterval
	if until, owed := p.cursor.untilSweep(time.Now()); owed {
		if calm {
			return 0, false
		}
		longest = min(longest, max(until, wakeup.NapFirst))
	}
	ctx, cancel := context.WithTimeout(ctx, claimPatience)
	defer cancel()
	due, found, err := p.o.Store.NextDue(ctx, calm)
	switch {
	case err != nil || found && due < wakeup.NapFirst:
		return 0, false
	case found:
		return min(due, longest), true
	default:
		return longest, true
	}
}

// untilNextDue returns the time until the next event is due, or until an owed sweep is allowed. The result is at
// most PollInterval. The result is at least wakeup.NapFirst, so that the poller does not loop without a pause while
// another transaction has locked a due event.
func (p *poller) untilNextDue(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, claimPatience)
	defer cancel()
	longest := p.o.PollInterval
	if until, owed := p.cursor.untilSweep(time.Now()); owed {
		longest = min(longest, max(until, wakeup.NapFirst))
	}
	due, found, err := p.o.Store.NextDue(ctx, false)
	if err != nil || !found {
		return longest
	}
	return min(max(due, wakeup.NapFirst), longest)
}

// The time limits of the steps of a pass. They also apply while the process stops. The commit has its own limit, so
// that a slow Redis leaves it enough time.
const (
	claimPatience   = 10 * time.Second
	publishPatience = 15 * time.Second
	commitPatience  = 10 * time.Second
)

// pass claims a batch, publishes it and commits. pass returns how many events it tried to publish or, if there were
// none, how many events it held or turned into deliveries. It also returns whether more events may be due. After a
// crash before the commit the events of the batch are still due.
func (p *poller) pass(ctx context.Context) (claimed int, more bool, err error) {
	p.in.begin()
	defer p.in.end()
	batch, err := p.claim(ctx)
	if err != nil {
		return 0, false, err
	}
	if len(batch.Events()) == 0 {
		p.queue.succeeded() // nothing is left to publish
		if made, first := batch.Deliveries(); made > 0 {
			p.cursor.lost(first)
		}
		return batch.Held(), batch.Full() || batch.Advanced(), nil
	}
	begun, events := time.Now(), batch.Events()
	from := domain.Cursor{} // where events behind the cursor are due again; zero: none
	defer func() {
		// Releasing after a successful Commit does nothing.
		if err := batch.Release(); err != nil {
			p.log.Warn("could not release a batch", "error", err)
		}
		// The cursor moves back only after the batch has been released. While the batch has its rows locked,
		// another scan would skip them and move the cursor past them.
		if from != (domain.Cursor{}) {
			p.cursor.lost(from)
		}
	}()
	// A claimed batch is finished even if ctx ends.
	ctx = context.WithoutCancel(ctx)
	crashpoint.Reach(crashpoint.RelayClaimed)
	outcomes := p.judge(events, p.publish(ctx, events))
	crashpoint.Reach(crashpoint.RelayPublished)
	untried := count(outcomes, domain.Untried)
	if untried > 0 {
		from = events[0].Cursor()
	}
	if untried == len(outcomes) {
		return len(events), batch.Full(), nil
	}
	committing, cancel := context.WithTimeout(ctx, commitPatience)
	defer cancel()
	if err := batch.Commit(committing, outcomes); err != nil {
		from = events[0].Cursor()
		if errors.Is(err, domain.ErrPassedOver) {
			return len(events), true, nil
		}
		return len(events), batch.Full(), fmt.Errorf("commit %d events: %w", len(events), err)
	}
	if untried == 0 && batch.Full() && len(events)+batch.Held() < p.o.BatchSize {
		// The limit on bytes ended the batch early. The claim had also locked rows after the batch until now, and
		// other pollers have skipped them.
		from = batch.Reached()
	}
	if made, first := batch.Deliveries(); made > 0 && (from == (domain.Cursor{}) || first.Compare(from) < 0) {
		from = first // deliveries are due at the time of their events
	}
	p.bounds.added(events, outcomes)
	p.metrics.settled(events, outcomes, batch.Now().Add(time.Since(begun)))
	p.report(events, outcomes)
	return len(events), batch.Full() || batch.Advanced(), nil
}

// publish hands events to Redis and returns one receipt for each. publish opens the breaker if Redis as a whole, and
// not only single queues, cannot be used.
func (p *poller) publish(ctx context.Context, events []domain.Event) []domain.Receipt {
	ctx, cancel := context.WithTimeout(ctx, publishPatience)
	defer cancel()
	receipts := p.publishAll(ctx, events)
	if outage := p.parts.judge(events, receipts); outage != nil {
		p.queue.trip(outage)
		return receipts
	}
	p.queue.succeeded()
	return receipts
}

// claim claims a batch from the cursor on. If the cursor asks for a sweep, the poller claims again from the
// beginning of the outbox.
func (p *poller) claim(ctx context.Context) (domain.Batch, error) {
	ctx, cancel := context.WithTimeout(ctx, claimPatience)
	defer cancel()
	for {
		s := p.cursor.next(time.Now())
		batch, err := p.o.Store.Claim(ctx, s.from, p.o.BatchSize, p.parts.closed(p.bounds.closed())...)
		if err != nil {
			return nil, err
		}
		if !p.cursor.done(s, batch, time.Now()) {
			return batch, nil
		}
	}
}

func count(outcomes []domain.Outcome, verdict domain.Verdict) int {
	n := 0
	for _, o := range outcomes {
		if o.Verdict == verdict {
			n++
		}
	}
	return n
}

// report logs each dead event. report logs only one refused event for each reason, because
// a faulty queue refuses all of its events. report logs no other events.
func (p *poller) report(events []domain.Event, outcomes []domain.Outcome) {
	refused := map[string]int{}
	for i, o := range outcomes {
		e := &events[i]
		if o.Verdict == domain.Dead {
			p.log.Error("an event is dead", "event_id", e.ID, "event_type", e.Type, "queue", e.Queue, "attempts", e.Attempts+1, "error", o.Err)
		}
		if o.Verdict == domain.Refused {
			refused[o.Err.Error()]++
		}
	}
	for i, o := range outcomes {
		if o.Verdict != domain.Refused || refused[o.Err.Error()] == 0 {
			continue
		}
		e := &events[i]
		p.log.Warn("the queue refused events; they are tried again", "events", refused[o.Err.Error()], "error", o.Err,
			"event_id", e.ID, "event_type", e.Type, "queue", e.Queue, "attempt", e.Attempts+1, "retry_in", o.Delay)
		refused[o.Err.Error()] = 0
	}
}
