package costing

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"outboxd/app/bench/distance"
	"outboxd/app/bench/env"
)

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
