package env

import (
	"context"
	"errors"
	"fmt"
	"time"

	"outboxd/jobs/broker"
)

// Delivered returns how many tasks wait in the queue, which is cheap for Redis.
// No worker takes tasks while a benchmark of the relay runs.
func (e *Env) Delivered(ctx context.Context) (int64, error) {
	n, err := e.Redis.LLen(ctx, broker.PendingKey(Queue)).Result()
	if err != nil {
		return 0, fmt.Errorf("count the tasks in Redis: %w", err)
	}
	return n, nil
}

const (
	lookEvery = 2 * time.Millisecond
	// If the number of tasks has not changed for this long, WaitDrained looks at the
	// table: the queue may never hold as many tasks as events were loaded, for example
	// if some were refused.
	stalled = time.Second
	// A benchmark fails if its drain has made no progress for this time.
	stuck = 2 * time.Minute
)

var errStuck = errors.New("the relay has moved nothing for 2 minutes; --log-level=debug says more")

// WaitDelivered returns when n tasks are in Redis. The function seen, if not nil, is
// called with each count on the way.
func (e *Env) WaitDelivered(ctx context.Context, n int64, seen func(int64)) error {
	return e.watch(ctx, seen, func(delivered int64, _ time.Duration) (bool, error) { return delivered >= n, nil })
}

// WaitDrained returns when the outbox is empty. While tasks arrive, WaitDrained
// polls only Redis: reading a table full of deleted rows would load the PostgreSQL
// that is measured.
func (e *Env) WaitDrained(ctx context.Context) error {
	e.mu.Lock()
	loaded := e.loaded
	e.mu.Unlock()
	return e.watch(ctx, nil, func(delivered int64, idle time.Duration) (bool, error) {
		if delivered < loaded && idle < stalled {
			return false, nil
		}
		return e.Drained(ctx)
	})
}

// Drained reports whether the outbox is empty.
func (e *Env) Drained(ctx context.Context) (bool, error) {
	var empty bool
	err := e.Admin.QueryRow(ctx, "SELECT NOT EXISTS (SELECT FROM outbox)").Scan(&empty)
	if err != nil {
		return false, fmt.Errorf("look at the outbox: %w", err)
	}
	return empty, nil
}

// watch polls the number of delivered events until the function done returns true. The
// parameter idle of done is how long the number has not changed.
func (e *Env) watch(ctx context.Context, seen func(int64), done func(delivered int64, idle time.Duration) (bool, error)) error {
	last, moved := int64(-1), time.Now()
	return Poll(ctx, lookEvery, func() (bool, error) {
		delivered, err := e.Delivered(ctx)
		if err != nil {
			return false, err
		}
		if delivered != last {
			e.Progress.Add(delivered - max(last, 0))
			last, moved = delivered, time.Now()
			if seen != nil {
				seen(delivered)
			}
		}
		idle := time.Since(moved)
		over, err := done(delivered, idle)
		if err == nil && !over && idle > stuck {
			err = errStuck
		}
		return over, err
	})
}

// Poll calls the function done at once and then at the given interval, until it returns
// true or an error, or until ctx ends.
func Poll(ctx context.Context, every time.Duration, done func() (bool, error)) error {
	look := time.NewTicker(every)
	defer look.Stop()
	for {
		if over, err := done(); over || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
}
