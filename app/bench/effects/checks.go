package effects

import (
	"context"
	"fmt"

	"outboxd/app/bench/env"
)

// everyEffect fails unless every event has one effect and is confirmed.
func everyEffect(ctx context.Context, e *env.Env, events int) error {
	return once(ctx, e, events, "SELECT count(*), count(DISTINCT event_id) FROM "+effectsTable+" JOIN inbox USING (event_id)")
}

// everyDelivery fails unless every event was delivered once and is confirmed.
func everyDelivery(ctx context.Context, e *env.Env, events int) error {
	return once(ctx, e, events, "SELECT count(*), count(DISTINCT event_id) FROM outbox_journal JOIN inbox USING (event_id) WHERE entry = 'delivered'")
}

func once(ctx context.Context, e *env.Env, events int, query string) error {
	var all, different int
	if err := e.Admin.QueryRow(ctx, query).Scan(&all, &different); err != nil {
		return fmt.Errorf("count the effects: %w", err)
	}
	if all != events || different != events {
		return fmt.Errorf("%d effects of %d events, of %d: the figure would mean nothing", all, different, events)
	}
	return nil
}
