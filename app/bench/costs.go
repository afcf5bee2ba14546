package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"outboxd/app/bench/distance"
	"outboxd/app/bench/env"
	"outboxd/app/bench/plan"
	"outboxd/domain"
	"outboxd/jobs/work"
)

// The payloads at which costs are measured, in bytes. The costs at other payloads
// follow from these two. From about 2,000 bytes on, PostgreSQL stores a payload
// apart from its row, which costs more, so the larger payload is below that unless
// the reader's is above.
const (
	smallPayload = 100
	largePayload = 1700
)

// Costs measures what n events cost on the servers of e, with two sizes of payload.
// Costs takes the parts in turn: producers on several connections with a
// transaction for each event, then the relay, then a worker whose handler has no
// effect. What cannot be measured here is taken from plan.Recorded, and a note
// says so. payload is the reader's, in bytes.
func Costs(ctx context.Context, e *env.Env, n, payload int) (_ plan.Measured, notes []string, err error) {
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
	// Bytes are counted in a run of their own, because the proxy that counts them
	// takes part of the processors.
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
// DELETE, the history's row and the inbox's.
func rowsOf(e *env.Env) float64 {
	const without = 3
	if e.Config.Relay.History > 0 {
		return without + 1
	}
	return without
}

// costProducers is how many connections the producers have at most. A few events
// have fewer, so that the connections are a small part of what is measured.
const costProducers = 16

// produce commits n events, each in its own transaction.
func produce(ctx context.Context, e *env.Env, n, payload int) error {
	e.Progress.Start("produce", int64(n))
	defer e.Progress.Done()
	pool, err := env.Pool(ctx, e.DatabaseURL, costProducers)
	if err != nil {
		return fmt.Errorf("connect the producers: %w", err)
	}
	// PostgreSQL counts the flushes of a connection when the connection ends, so end
	// them all here.
	defer pool.Close()
	const sql = "INSERT INTO outbox (event_type, payload) VALUES ($1, $2)"
	body := incompressible(payload)
	var left atomic.Int64
	left.Store(int64(n))
	producing, ctx := errgroup.WithContext(ctx)
	for range min(costProducers, 1+n/20) {
		producing.Go(func() error {
			for left.Add(-1) >= 0 {
				if _, err := pool.Exec(ctx, sql, env.EventType, body); err != nil {
					return fmt.Errorf("emit an event: %w", err)
				}
				e.Progress.Add(1)
			}
			return nil
		})
	}
	return producing.Wait()
}

// incompressible returns a JSON string of length bytes, at least 2, that PostgreSQL
// cannot compress.
func incompressible(length int) []byte {
	text := make([]byte, max(length-2, 0))
	random := rand.NewChaCha8([32]byte{})
	for i := range text {
		text[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[random.Uint64()%64]
	}
	return slices.Concat([]byte{'"'}, text, []byte{'"'})
}

func relayAll(ctx context.Context, e *env.Env, n int) error {
	_, err := drainRelay(ctx, e, n, nil)
	return err
}

// handleAll lets a worker take all tasks, one by one.
func handleAll(ctx context.Context, e *env.Env, n int) error {
	e.Progress.Start("handle", int64(n))
	defer e.Progress.Done()
	done := newTally(e, n)
	stop := e.RunWorkerWith(ctx, func(o *work.Options) {
		o.Handlers = map[string]work.Handler{env.EventType: func(context.Context, domain.Effects, work.Task) error { return nil }}
		o.Inbox = tallied{o.Inbox, done}
	})
	return errors.Join(done.wait(ctx), stop())
}

// countNetwork returns the bytes between PostgreSQL and its clients for one event,
// in both directions together.
func countNetwork(ctx context.Context, e *env.Env, n, payload int) (_ float64, err error) {
	var total byteCount
	proxy, address, err := distance.Postgres(ctx, e.Admin, 0, func() (requests, replies io.WriteCloser) { return &total, &total })
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, proxy.Close()) }()
	through, closeThrough, err := e.Through(ctx, address, e.RedisURL, e.RedisOpt)
	if err != nil {
		return 0, err
	}
	defer closeThrough()
	before := total.n.Load()
	if err := produce(ctx, through, n, payload); err != nil {
		return 0, err
	}
	if err := relayAll(ctx, through, n); err != nil {
		return 0, err
	}
	err = handleAll(ctx, through, n)
	return float64(total.n.Load()-before) / float64(n), err
}

// byteCount counts the bytes that are written to it. It is safe for concurrent use.
type byteCount struct{ n atomic.Int64 }

// Write implements io.Writer.
func (c *byteCount) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// Close implements io.Closer.
func (*byteCount) Close() error { return nil }
