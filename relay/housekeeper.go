package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"outboxd/domain"
)

// The housekeeper's rhythm.
const (
	measureEvery = 10 * time.Second
	keysEvery    = 30 * time.Second
	foldEvery    = time.Minute
	lookEvery    = time.Minute
	tidyEvery    = 10 * time.Minute
	trimBatch    = 10_000
	advanceBatch = 10_000 // ordering keys in one round
	// staleRelay is how long a relay may be silent before it counts as gone;
	// it shows itself every showEvery.
	staleRelay = time.Minute
)

// housekeeper is the work that one process does for all: partitions, trimming,
// measuring. Nothing that it fails at is a reason to stop relaying, so it
// reports, and tries again.
type housekeeper struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	failing *failing
	healer  *healer     // nil: losses of the queue go unnoticed
	single  *reconciler // nil: nor single tasks
	key     string      // the ordering key that the last round ended at
}

// run leads whenever no other relay does, until ctx ends.
func (h *housekeeper) run(ctx context.Context) error {
	for failures := 0; ; {
		begun := time.Now()
		err := h.o.Housekeeping.Lead(ctx, h.keep)
		h.metrics.backlog.forget()
		h.metrics.upkeep.forget()
		h.failing.end()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end of ctx is no failure
		}
		if time.Since(begun) > time.Minute {
			failures = 0
		}
		failures++
		pause := time.Second + backoff(time.Second, 30*time.Second, failures)
		if failures == 1 {
			h.log.Warn("cannot lead; relaying goes on", "retry_in", pause, "error", err)
		}
		wait(ctx, pause)
	}
}

func (h *housekeeper) keep(ctx context.Context, leads domain.StillLeads) error {
	h.log.Info("this process is the leader")
	h.failing.begin(ctx)
	if err := h.o.Housekeeping.SayUnconfirmed(ctx, h.o.Unconfirmed); err != nil {
		return err
	}
	// Beside the rest, which may take minutes.
	var beside sync.WaitGroup
	defer beside.Wait()
	if h.healer != nil {
		beside.Go(func() { h.healer.run(ctx, leads) })
	}
	if h.single != nil {
		beside.Go(func() { h.single.run(ctx) })
	}
	if h.o.Acknowledging != nil {
		acknowledger := &acknowledger{o: *h.o.Acknowledging, log: h.log, failing: h.failing}
		beside.Go(func() { acknowledger.run(ctx, leads) })
	}
	if h.o.Archives != nil {
		archivist := &archivist{o: *h.o.Archives, log: h.log, metrics: h.metrics}
		beside.Go(func() { archivist.run(ctx, leads) })
	}
	measure := time.NewTicker(measureEvery)
	defer measure.Stop()
	advance := time.NewTicker(keysEvery)
	defer advance.Stop()
	fold := time.NewTicker(foldEvery)
	defer fold.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	tidy := time.NewTicker(tidyEvery)
	defer tidy.Stop()
	h.measure(ctx)
	h.advance(ctx) // the leader before may have died between two steps
	h.tidy(ctx)
	for {
		var step func(context.Context)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tidy.C:
			step = h.tidy
		case <-fold.C:
			step = h.fold
		case <-look.C:
			step = h.look
		case <-measure.C:
			step = h.measure
		case <-advance.C:
			step = h.advance
		}
		if err := leads(ctx); err != nil {
			return err
		}
		step(ctx)
	}
}

// measure leaves the figures as they are where it cannot get new ones; their
// time says so.
func (h *housekeeper) measure(ctx context.Context) {
	backlog, err := h.o.Housekeeping.Measure(ctx, h.o.Process)
	h.failing.note(ctx, dutyMeasure, err)
	if err != nil {
		if ctx.Err() == nil {
			h.log.Warn("could not measure the backlog", "retry_in", measureEvery, "error", err)
		}
		return
	}
	h.metrics.backlog.set(backlog, time.Now())
}

// look leaves the figures as they are where it cannot get new ones.
func (h *housekeeper) look(ctx context.Context) {
	upkeep, err := h.o.Housekeeping.Upkeep(ctx, h.o.History)
	h.failing.note(ctx, dutyUpkeep, err)
	if err != nil {
		if ctx.Err() == nil {
			h.log.Warn("could not look at the tables' upkeep", "retry_in", lookEvery, "error", err)
		}
		return
	}
	h.metrics.upkeep.set(upkeep)
}

// advance lets go events that were held and wait for nothing any more. Nobody
// else would notice that a process died between two steps.
func (h *housekeeper) advance(ctx context.Context) {
	defer h.removeCancelled(ctx)
	last, advanced, gone, err := h.o.Housekeeping.AdvanceKeys(ctx, h.key, advanceBatch)
	h.key = last
	if err == nil {
		err = h.passEnded(ctx, gone)
	}
	h.failing.note(ctx, dutyKeys, err)
	if err != nil && ctx.Err() == nil {
		h.log.Warn("could not look after ordering keys", "retry_in", keysEvery, "error", err)
	}
	if advanced > 0 {
		h.log.Info("released held events whose turn was lost", "events", advanced)
	}
}

// passEnded passes on the turns of events that neither the database nor the
// queue knows any more, because nobody ever confirmed them. What still waits in
// the queue keeps its turn, however long ago the history of it ended.
func (h *housekeeper) passEnded(ctx context.Context, gone []domain.Event) error {
	if len(gone) == 0 || h.o.Unfinished == nil {
		return nil
	}
	waits, err := h.o.Unfinished.Unfinished(ctx, gone)
	if err != nil {
		return err
	}
	var ended []domain.Event
	for i := range gone {
		if !waits[i] {
			ended = append(ended, gone[i])
		}
	}
	if len(ended) == 0 {
		return nil
	}
	if err := h.o.Housekeeping.PassTurns(ctx, ended); err != nil {
		return err
	}
	h.log.Warn("ordering keys go on without a confirmation: the event before is neither in the history nor in the queue",
		"keys", len(ended), "an_event_id", ended[0].ID)
	return nil
}

// fold adds up the account. It waits as long as it likes: entries count as well
// as sums do.
func (h *housekeeper) fold(ctx context.Context) {
	_, err := h.o.Housekeeping.FoldAccount(ctx)
	h.failing.note(ctx, dutyFold, err)
	if err != nil && ctx.Err() == nil {
		h.log.Warn("could not fold the account of events", "retry_in", foldEvery, "error", err)
	}
}

// tidy does what may wait for minutes. A partition that could not be locked in
// time is left for the next round: it is made days before it is needed.
func (h *housekeeper) tidy(ctx context.Context) {
	err := errors.Join(
		h.o.Housekeeping.KeepPartitions(ctx, h.o.History),
		h.o.Housekeeping.TrimRelays(ctx, staleRelay),
		h.trim(ctx, "inbox rows", h.o.Housekeeping.TrimInbox, h.o.InboxRetention),
		h.trim(ctx, "suppressed events", h.o.Housekeeping.TrimSuppressed, h.o.InboxRetention),
		h.trim(ctx, "cancelled events", h.o.Housekeeping.TrimCancelled, h.o.InboxRetention),
	)
	h.failing.note(ctx, dutyTidy, err)
	if err == nil {
		h.metrics.upkeep.tidy(time.Now())
	} else if ctx.Err() == nil {
		h.log.Warn("could not do all of the housekeeping", "retry_in", tidyEvery, "error", err)
	}
	h.look(ctx)
}

func (h *housekeeper) trim(ctx context.Context, what string, trim func(context.Context, time.Duration, int) (int64, error), age time.Duration) error {
	total := int64(0)
	for n := int64(trimBatch); n == trimBatch; total += n {
		var err error
		if n, err = trim(ctx, age, trimBatch); err != nil {
			return fmt.Errorf("trim %s: %w", what, err)
		}
	}
	if total > 0 {
		h.log.Info("trimmed "+what, "rows", total)
	}
	return nil
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
