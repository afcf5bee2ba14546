package drains

import (
	"context"
	"fmt"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
)

// The subscription is inserted by SQL, as if an operator had applied it. No worker
// sends its deliveries.
const subscribeSQL = `
INSERT INTO outbox_subscriptions (name, types, patterns, url, format, timeout_ms, concurrency, attempts, retry_max_ms, ordering)
SELECT 'bench-' || n, ARRAY[$2::text], ARRAY[$3::text], 'http://receiver.example.com', 'raw', 10000, 10, 12, 3600000, 'none' FROM generate_series(1, $1::int) AS n`

// runSubscribed drains without subscriptions, with some that match no event, and with one that
// matches every event.
func (d *drain) runSubscribed(ctx context.Context, e *env.Env, report *result.Report) (*result.Report, error) {
	arm := func(name string, n int, all bool) *result.Contender {
		types, pattern, each := "nothing:*", "nothing:%", 1
		if all {
			types, pattern, each = "*", "%", 2
		}
		return d.arm(e, name, func(ctx context.Context) (result.Measurement, error) {
			if _, err := e.Admin.Exec(ctx, subscribeSQL, n, types, pattern); err != nil {
				return result.Measurement{}, fmt.Errorf("add subscriptions: %w", err)
			}
			return drainSubscribed(ctx, e, d.Events, each)
		})
	}
	none := arm("no subscription", 0, false)
	one, ten := arm("one that matches nothing", 1, false), arm("ten that match nothing", 10, false)
	all := arm("one that matches all", 1, true)
	if err := report.Compare(ctx, e.Reset, d.Rounds, none, one, ten, all); err != nil {
		return nil, err
	}
	report.Ratio("one", one, none)
	report.Ratio("ten", ten, none)
	report.Ratio("all", all, none)
	return report, nil
}

// drainSubscribed drains the loaded events. The parameter rowsPerEvent is how many rows
// of the history an event becomes: its own row and those of its deliveries. The rate
// counts events.
func drainSubscribed(ctx context.Context, e *env.Env, events, rowsPerEvent int) (result.Measurement, error) {
	measured, err := drainLoaded(ctx, e, events, nil)
	if err != nil {
		return result.Measurement{}, err
	}
	var kept int
	if err := e.Admin.QueryRow(ctx, "SELECT count(*) FROM outbox_sent").Scan(&kept); err != nil {
		return result.Measurement{}, fmt.Errorf("count the events: %w", err)
	}
	if e.Config.Relay.History > 0 && kept != events*rowsPerEvent {
		return result.Measurement{}, fmt.Errorf("the history has %d rows of %d events, want %d: the figure would mean nothing", kept, events, events*rowsPerEvent)
	}
	return measured, nil
}
