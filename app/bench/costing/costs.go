package costing

import (
	"context"
	"errors"
	"fmt"

	"outboxd/app/bench/drains"
	"outboxd/app/bench/env"
	"outboxd/app/bench/plan"
	"outboxd/app/bench/tally"
	"outboxd/domain"
	"outboxd/jobs/work"
)

// The payloads at which costs are measured, in bytes. The costs at other payloads are computed from
// these two, on a straight line. From about 2,000 bytes on, PostgreSQL stores a payload apart from
// its row, which costs more. So the larger of the two payloads is below 2,000 bytes, unless the
// payload that the user asks about is larger.
const (
	smallPayload = 100
	largePayload = 1700
)

// Measure measures what n events cost on the servers of e, with two sizes of payload. Measure takes
// the parts in turn: producers on several connections with a transaction for each event, then the
// relay, then a worker whose handler has no effect. What cannot be measured here is taken from
// plan.Recorded, and a note says so. The parameter payload is the size of the payloads that the
// user asks about, in bytes.
func Measure(ctx context.Context, e *env.Env, n, payload int) (_ plan.Measured, notes []string, err error) {
	if n < 1 {
		return plan.Measured{}, nil, errors.New("--events has to be at least 1")
	}
	var atSize [2]plan.Costs
	large := max(largePayload, payload)
	for i, size := range []int{smallPayload, large} {
		if atSize[i], err = costsOf(ctx, e, n, size); err != nil {
			return plan.Measured{}, nil, fmt.Errorf("measure events with %d bytes of payload: %w", size, err)
		}
	}
	environment, err := e.Environment(ctx)
	if err != nil {
		return plan.Measured{}, nil, err
	}
	lines := plan.Fit(smallPayload, atSize[0], large, atSize[1])
	notes = lines.Complete(plan.Recorded().Lines)
	return plan.Measured{Source: fmt.Sprintf("measured here with %d events", n), Environment: environment, Lines: lines}, notes, nil
}

func costsOf(ctx context.Context, e *env.Env, n, payload int) (plan.Costs, error) {
	if err := e.Reset(ctx); err != nil {
		return nil, err
	}
	costs := plan.Costs{}
	if err := countLife(ctx, e, n, payload, costs); err != nil {
		return nil, err
	}
	// PostgreSQL's network bytes are counted in a run of their own, because the proxy that counts
	// them takes part of the processors.
	if err := e.Reset(ctx); err != nil {
		return nil, err
	}
	network, err := countNetwork(ctx, e, max(1, n/10), payload)
	costs[plan.NetworkPostgres] = network
	return costs, err
}

// countLife takes n events from their INSERT to the end of their tasks, and counts
// what each part of the way costs.
func countLife(ctx context.Context, e *env.Env, n, payload int, costs plan.Costs) error {
	counts := make([]counters, 0, 4)
	look := func() error {
		c, err := readCounters(ctx, e)
		counts = append(counts, c)
		return err
	}
	if err := look(); err != nil {
		return err
	}
	for _, part := range []func(context.Context, *env.Env, int) error{
		func(ctx context.Context, e *env.Env, n int) error { return produce(ctx, e, n, payload) }, relayAll, handleAll,
	} {
		if err := part(ctx, e, n); err != nil {
			return err
		}
		if err := look(); err != nil {
			return err
		}
	}
	kept, err := keptBytes(ctx, e)
	if err != nil {
		return err
	}
	each := func(amount float64) float64 { return amount / float64(n) }
	made, relayed, handled := counts[1].since(counts[0]), counts[2].since(counts[1]), counts[3].since(counts[2])
	costs[plan.ProducePostgres], costs[plan.RelayPostgres], costs[plan.HandlePostgres] = each(made.postgres), each(relayed.postgres), each(handled.postgres)
	costs[plan.RelayProcess], costs[plan.WorkerProcess] = each(relayed.own), each(handled.own)
	costs[plan.RelayRedis], costs[plan.HandleRedis] = each(relayed.redis), each(handled.redis)
	costs[plan.Waiting] = each(relayed.redisMemory)
	all := counts[3].since(counts[0])
	costs[plan.WAL], costs[plan.Flushes], costs[plan.NetworkRedis] = each(all.wal), each(all.flushes), each(all.redisNetwork)
	costs[plan.Kept], costs[plan.Rows] = each(kept), rowsOf(e)
	return nil
}

// rowsOf returns how many rows the life of an event writes: the outbox's INSERT and
// DELETE, the row of the history, if the relay keeps one, and the inbox's.
func rowsOf(e *env.Env) float64 {
	const without = 3
	if e.Config.Relay.History > 0 {
		return without + 1
	}
	return without
}

func relayAll(ctx context.Context, e *env.Env, n int) error {
	_, err := drains.Relay(ctx, e, n, nil)
	return err
}

// handleAll lets a worker run all tasks, each in a transaction of its own.
func handleAll(ctx context.Context, e *env.Env, n int) error {
	e.Progress.Start("handle", int64(n))
	defer e.Progress.Done()
	done := tally.New(e, n)
	stop := e.RunWorkerWith(ctx, func(o *work.Options) {
		o.Handlers = map[string]work.Handler{env.EventType: func(context.Context, domain.Effects, work.Task) error { return nil }}
		o.Inbox = done.Inbox(o.Inbox)
	})
	return errors.Join(done.Wait(ctx), stop())
}
