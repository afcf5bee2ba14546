package traffic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"outboxd/app/bench/result"
)

// Crowd is a group of simulated producers, each with an open connection and a
// prepared INSERT statement.
type Crowd struct{ conns []*pgx.Conn }

const insertName = "bench_insert"

// NewCrowd connects n clients.
func NewCrowd(ctx context.Context, address string, n int) (*Crowd, error) {
	c := &Crowd{}
	for range n {
		conn, err := pgx.Connect(ctx, address)
		if err == nil {
			c.conns = append(c.conns, conn)
			_, err = conn.PgConn().Prepare(ctx, insertName, `INSERT INTO outbox (event_type, payload) VALUES ('bench:event', '{"n": 1}')`, nil)
		}
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("connect %d clients: %w", n, err)
		}
	}
	return c, nil
}

// Close closes the connections.
func (c *Crowd) Close() {
	for _, conn := range c.conns {
		_ = conn.Close(context.Background())
	}
}

// Insert lets n clients insert events for the given time. Insert returns how many
// transactions per second all clients committed together.
func (c *Crowd) Insert(ctx context.Context, n int, length time.Duration) (float64, error) {
	var over atomic.Bool
	defer context.AfterFunc(ctx, func() { over.Store(true) })()
	counts, failures := make([]int, n), make([]error, n)
	var inserting sync.WaitGroup
	begun := time.Now()
	timer := time.AfterFunc(length, func() { over.Store(true) })
	defer timer.Stop()
	for i := range n {
		inserting.Go(func() {
			counts[i], failures[i] = insertUntil(&over, c.conns[i].PgConn())
		})
	}
	inserting.Wait()
	took := time.Since(begun)
	total := 0
	for _, count := range counts {
		total += count
	}
	return result.PerSecond(total, took), errors.Join(ctx.Err(), errors.Join(failures...))
}

// insertUntil inserts events until over is set, and returns how many. It uses only pgx's protocol
// layer, and a context without an end, so that pgx spends no time on watching a context.
func insertUntil(over *atomic.Bool, conn *pgconn.PgConn) (int, error) {
	n := 0
	for !over.Load() {
		if _, err := conn.ExecPrepared(context.Background(), insertName, nil, nil, nil).Close(); err != nil {
			return n, fmt.Errorf("insert: %w", err)
		}
		n++
	}
	return n, nil
}
