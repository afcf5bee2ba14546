package relay

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"outboxd/domain"
)

// The housekeeper's rhythm.
const (
	measureEvery = 10 * time.Second
	tidyEvery    = 10 * time.Minute
	trimBatch    = 10_000
	// staleRelay is how long a relay may be silent before it counts as gone;
	// it shows itself every showEvery.
	staleRelay = time.Minute
)

// housekeeper is the work that one process does for all: partitions, trimming,
// measuring.
type housekeeper struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
}

// run leads whenever nobody else does, until ctx ends. An unreachable database
// is waited for.
func (h *housekeeper) run(ctx context.Context) error {
	for failures := 0; ctx.Err() == nil; {
		err := h.o.Housekeeping.Lead(ctx, h.keep)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end of ctx is no failure
		}
		if err != nil && domain.ErrorCode(err) != domain.CodeUnavailable {
			return err
		}
		failures++
		h.log.Debug("the housekeeper lost the database", "error", err)
		wait(ctx, time.Second+backoff(time.Second, 15*time.Second, failures))
	}
	return nil
}

func (h *housekeeper) keep(ctx context.Context) error {
	h.log.Info("this process keeps house")
	measure := time.NewTicker(measureEvery)
	defer measure.Stop()
	tidy := time.NewTicker(tidyEvery)
	defer tidy.Stop()
	if err := h.tidy(ctx); err != nil {
		return err
	}
	for {
		if err := h.measure(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tidy.C:
			if err := h.tidy(ctx); err != nil {
				return err
			}
		case <-measure.C:
		}
	}
}

func (h *housekeeper) measure(ctx context.Context) error {
	if err := h.o.Housekeeping.TrimRelays(ctx, staleRelay); err != nil {
		return err
	}
	backlog, err := h.o.Housekeeping.Backlog(ctx)
	if err != nil {
		return err
	}
	h.metrics.backlog(backlog)
	return nil
}

// tidy does what may wait for minutes. A partition that could not be locked in
// time is left for the next round: it is made days before it is needed.
func (h *housekeeper) tidy(ctx context.Context) error {
	if err := h.o.Housekeeping.KeepPartitions(ctx, h.o.History); err != nil {
		h.log.Warn("could not keep the partitions of the history; trying again later", "retry_in", tidyEvery, "error", err)
	}
	trims := []struct {
		what string
		trim func(context.Context, time.Duration, int) (int64, error)
		age  time.Duration
	}{
		{"inbox rows", h.o.Housekeeping.TrimInbox, h.o.InboxRetention},
		{"idempotency keys", h.o.Housekeeping.TrimKeys, h.o.KeyRetention},
	}
	for _, t := range trims {
		total := int64(0)
		for n := int64(trimBatch); n == trimBatch; total += n {
			var err error
			if n, err = t.trim(ctx, t.age, trimBatch); err != nil {
				return fmt.Errorf("trim %s: %w", t.what, err)
			}
		}
		if total > 0 {
			h.log.Info("trimmed "+t.what, "rows", total)
		}
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
