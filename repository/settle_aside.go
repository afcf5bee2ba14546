package repository

import (
	"context"
	"fmt"
	"slices"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// settleSafely does what settle does. If the outbox or the dead letters refuse an event,
// only that event gets another outcome. settleSafely returns the outcomes that took
// effect. If all tables refuse an event, settleSafely returns domain.ErrPassedOver. The
// savepoint of settleSafely costs two round trips, but only in a batch with events that
// were not published.
func (b *batch) settleSafely(ctx context.Context, outcomes []domain.Outcome) ([]domain.Outcome, error) {
	if !slices.ContainsFunc(outcomes, func(o domain.Outcome) bool { return o.Verdict != domain.Delivered }) {
		return outcomes, nil
	}
	err := b.try(ctx, func() error { return b.settle(ctx, outcomes) }, true)
	if !stored.IsOfRow(err) || postgres.IsFleeting(err) {
		return outcomes, err
	}
	outcomes = slices.Clone(outcomes)
	var stuck []stuckRow
	for i := 0; i < len(outcomes) && len(stuck) < maxAside; i++ {
		if outcomes[i].Verdict == domain.Delivered {
			continue
		}
		why := outcomes[i].Err
		if outcomes[i], err = b.settleOne(ctx, i, outcomes[i]); stored.IsOfRow(err) {
			stuck = append(stuck, stuckRow{dueRow: dueRow{at: b.events[i].Cursor()}, why: why, unset: err})
		} else if err != nil {
			return outcomes, err
		}
	}
	if len(stuck) > 0 {
		b.outbox.passed.passOver(ctx, stuck, b.outbox.db.Logger())
		return outcomes, fmt.Errorf("%w: %w", domain.ErrPassedOver, stuck[0].unset)
	}
	return outcomes, nil
}

// settleOne undoes the claim of one event. If the outbox refuses the event, it becomes a
// dead letter. If the dead letters refuse the event too, settleOne drops its headers and
// options, and in the end its payload.
func (b *batch) settleOne(ctx context.Context, i int, outcome domain.Outcome) (domain.Outcome, error) {
	alone := make([]domain.Outcome, len(b.events))
	for j := range alone {
		alone[j].Verdict = domain.Delivered
	}
	settle := func(outcome domain.Outcome) error {
		alone[i] = outcome
		return b.try(ctx, func() error { return b.settle(ctx, alone) }, true)
	}
	first := settle(outcome)
	if !stored.IsOfRow(first) {
		return outcome, first
	}
	e := &b.events[i]
	whole := *e
	dead := domain.Outcome{Verdict: domain.Dead, Err: fmt.Errorf("the outbox does not take the event back: %w", first)}
	if outcome.Err != nil {
		dead.Err = fmt.Errorf("%w; %w", outcome.Err, dead.Err)
	}
	err := settle(dead)
	if stored.IsOfRow(err) {
		e.Headers, e.LastError, e.Options = nil, "", domain.TaskOptions{}
		dead.Err = fmt.Errorf("%w (kept without its headers and options: %w)", dead.Err, err)
		err = settle(dead)
	}
	if stored.IsOfRow(err) {
		e.Payload = []byte{}
		err = settle(dead)
	}
	if err != nil {
		*e = whole
		return outcome, err
	}
	b.outbox.db.Logger().ErrorContext(ctx, "an event is dead: the outbox does not take it back", "event_id", e.ID, "event_type", e.Type, "error", dead.Err)
	return dead, nil
}
