package costing

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"outboxd/app/bench/env"
)

// mostProducers is how many connections the producers have at most. For few events there are fewer
// connections, so that the connections are a small part of what is measured.
const mostProducers = 16

// produce commits n events, each in its own transaction.
func produce(ctx context.Context, e *env.Env, n, payload int) error {
	e.Progress.Start("produce", int64(n))
	defer e.Progress.Done()
	pool, err := env.Pool(ctx, e.DatabaseURL, mostProducers)
	if err != nil {
		return fmt.Errorf("connect the producers: %w", err)
	}
	// PostgreSQL counts the flushes of a connection when the connection ends, so close
	// all connections here.
	defer pool.Close()
	const sql = "INSERT INTO outbox (event_type, payload) VALUES ($1, $2)"
	body := incompressible(payload)
	var left atomic.Int64
	left.Store(int64(n))
	producing, ctx := errgroup.WithContext(ctx)
	for range min(mostProducers, 1+n/20) {
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
