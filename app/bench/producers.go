package bench

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

	"outboxd/domain"
)

// producers commit events and tell the stopwatch when they did.
type producers struct {
	pool     *pgxpool.Pool
	s        *stopwatch
	progress *Progress
}

const producerConns = 32

func newProducers(ctx context.Context, e *Env, s *stopwatch) (*producers, error) {
	config, err := pgxpool.ParseConfig(e.DatabaseURL)
	if err != nil {
		return nil, fmt.Errorf("the database URL cannot be read")
	}
	config.MaxConns, config.MinConns = producerConns, producerConns
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect the producers: %w", err)
	}
	return &producers{pool, s, e.Progress}, nil
}

func (p *producers) close() { p.pool.Close() }

const emitSQL = `SELECT emit($1, '{"n": 1}')`

// emit is a producer's transaction of its own.
func (p *producers) emit(ctx context.Context) error {
	var id [16]byte
	err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, emitSQL, latencyType).Scan(&id)
	})
	if err != nil {
		return fmt.Errorf("emit an event: %w", err)
	}
	p.s.committed(id, time.Now())
	p.progress.Add(1)
	return nil
}

// steadily emits n events at random moments, rate of them a second in the long
// run, however long the database takes: a producer does not wait for another.
func (p *producers) steadily(ctx context.Context, rate float64, n int) error {
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

// atOnce emits n events in n transactions, as fast as the connections allow.
func (p *producers) atOnce(ctx context.Context, n int) error {
	var emitting sync.WaitGroup
	failed := make(chan error, 1)
	for range n {
		emitting.Go(func() { p.report(p.emit(ctx), failed) })
	}
	emitting.Wait()
	return pending(failed)
}

// pacers is how many producers share a steady rate: a transaction that takes
// long does not hold the others up.
const pacers = 8

// inStep emits transactions of each events, rate events a second altogether,
// until ctx ends, and returns how many events that were.
func (p *producers) inStep(ctx context.Context, rate float64, each int) (int, error) {
	const sql = `INSERT INTO outbox (event_type, payload) SELECT $1, '{"n": 1}' FROM generate_series(1, $2)`
	between := float64(pacers*each) / rate * float64(time.Second)
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
				// A transaction that has begun is finished, and counts.
				if _, err := p.pool.Exec(context.WithoutCancel(ctx), sql, latencyType, each); err != nil {
					return fmt.Errorf("emit %d events: %w", each, err)
				}
				emitted.Add(int64(each))
			}
		})
	}
	err := pacing.Wait()
	return int(emitted.Load()), err
}

func (*producers) report(err error, failed chan<- error) {
	if err == nil {
		return
	}
	select {
	case failed <- err:
	default: // the first says enough
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

// together emits n events in one transaction.
func (p *producers) together(ctx context.Context, n int) error {
	const sql = `INSERT INTO outbox (event_type, payload) SELECT $1, '{"n": 1}' FROM generate_series(1, $2) RETURNING id`
	rows, err := p.pool.Query(ctx, sql, latencyType, n)
	if err != nil {
		return fmt.Errorf("emit %d events: %w", n, err)
	}
	// An implicit transaction has committed when the result has been read.
	ids, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
	now := time.Now()
	if err != nil {
		return fmt.Errorf("emit %d events: %w", n, err)
	}
	if len(ids) != n {
		return errors.New("the database returned fewer events than were emitted")
	}
	for _, id := range ids {
		p.s.committed(domain.ID(id), now)
	}
	p.progress.Add(int64(n))
	return nil
}
