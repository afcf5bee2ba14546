package traffic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"outboxd/app/bench/env"
	"outboxd/domain"
)

// Producers commit events. All methods but InStep report the times of the commits to
// the stopwatch.
type Producers struct {
	pool     *pgxpool.Pool
	s        *Stopwatch
	progress *env.Progress
}

const producerConns = 32

// EventType is the type of all events that Producers emit.
const EventType = "bench:latency"

// NewProducers opens a pool of up to producerConns connections. Call Close afterwards.
func NewProducers(ctx context.Context, e *env.Env, s *Stopwatch) (*Producers, error) {
	pool, err := env.Pool(ctx, e.DatabaseURL, producerConns)
	if err != nil {
		return nil, fmt.Errorf("connect the producers: %w", err)
	}
	return &Producers{pool, s, e.Progress}, nil
}

// Close closes the producers' connections.
func (p *Producers) Close() { p.pool.Close() }

const emitSQL = `SELECT emit($1, '{"n": 1}')`

// emit commits one event in its own transaction.
func (p *Producers) emit(ctx context.Context) error {
	var id [16]byte
	err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, emitSQL, EventType).Scan(&id)
	})
	if err != nil {
		return fmt.Errorf("emit an event: %w", err)
	}
	p.s.Committed(id, time.Now())
	p.progress.Add(1)
	return nil
}

// Steadily emits n events at random moments. The rate is the average number of events a
// second. A slow transaction does not delay the others, unless all 32 connections are in
// use.
func (p *Producers) Steadily(ctx context.Context, rate float64, n int) error {
	var emitting sync.WaitGroup
	defer emitting.Wait()
	failed := make(chan error, 1)
	due := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for range n {
		due = due.Add(time.Duration(rand.ExpFloat64() / rate * float64(time.Second)))
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return err
		case <-timer.C:
		}
		emitting.Go(func() { p.report(p.emit(ctx), failed) })
	}
	emitting.Wait()
	return pending(failed)
}

// AtOnce emits n events in n transactions, as fast as the connections allow.
func (p *Producers) AtOnce(ctx context.Context, n int) error {
	var emitting sync.WaitGroup
	failed := make(chan error, 1)
	for range n {
		emitting.Go(func() { p.report(p.emit(ctx), failed) })
	}
	emitting.Wait()
	return pending(failed)
}

// pacers is how many producers share a steady rate, so that a slow transaction
// does not delay the others.
const pacers = 8

// InStep emits events until ctx ends. The rate is the average number of events a second,
// of all producers together. Each transaction emits perTransaction events. InStep returns
// how many events it emitted.
func (p *Producers) InStep(ctx context.Context, rate float64, perTransaction int) (int, error) {
	const sql = `INSERT INTO outbox (event_type, payload) SELECT $1, '{"n": 1}' FROM generate_series(1, $2)`
	between := float64(pacers*perTransaction) / rate * float64(time.Second)
	pacing, pacingCtx := errgroup.WithContext(ctx)
	var emitted atomic.Int64
	for range pacers {
		pacing.Go(func() error {
			timer := time.NewTimer(0)
			defer timer.Stop()
			for due := time.Now(); ; {
				due = due.Add(time.Duration(rand.ExpFloat64() * between))
				timer.Reset(time.Until(due))
				select {
				case <-pacingCtx.Done():
					return nil
				case <-timer.C:
				}
				// A transaction that has begun is finished and counted even if ctx
				// ends.
				if _, err := p.pool.Exec(context.WithoutCancel(ctx), sql, EventType, perTransaction); err != nil {
					return fmt.Errorf("emit %d events: %w", perTransaction, err)
				}
				emitted.Add(int64(perTransaction))
			}
		})
	}
	err := pacing.Wait()
	return int(emitted.Load()), err
}

func (*Producers) report(err error, failed chan<- error) {
	if err == nil {
		return
	}
	select {
	case failed <- err:
	default: // the first error is enough
	}
}

func pending(failed <-chan error) error {
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// Together emits n events in one transaction.
func (p *Producers) Together(ctx context.Context, n int) error {
	const sql = `INSERT INTO outbox (event_type, payload) SELECT $1, '{"n": 1}' FROM generate_series(1, $2) RETURNING id`
	rows, err := p.pool.Query(ctx, sql, EventType, n)
	if err != nil {
		return fmt.Errorf("emit %d events: %w", n, err)
	}
	// Each statement is a transaction of its own. It has committed when its result has been
	// read.
	ids, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
	now := time.Now()
	if err != nil {
		return fmt.Errorf("emit %d events: %w", n, err)
	}
	if len(ids) != n {
		return errors.New("the database returned fewer events than were emitted")
	}
	for _, id := range ids {
		p.s.Committed(domain.ID(id), now)
	}
	p.progress.Add(int64(n))
	return nil
}
