package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"outboxd/migrations"
)

const tablesSQL = `
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> $2`

// Reset empties every table and the Redis database.
func (e *Env) Reset(ctx context.Context) error {
	rows, err := e.Admin.Query(ctx, tablesSQL, e.schema, migrations.Table)
	if err != nil {
		return fmt.Errorf("list the benchmark's tables: %w", err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list the benchmark's tables: %w", err)
	}
	var statement strings.Builder
	statement.WriteString("TRUNCATE ")
	for i, table := range tables {
		if i > 0 {
			statement.WriteString(", ")
		}
		statement.WriteString(table)
	}
	for attempt := 1; ; attempt++ {
		_, err := e.Admin.Exec(ctx, statement.String())
		if err == nil {
			break
		}
		// What a relay that has just been stopped asked for last may still be running, and takes the same locks in another order.
		deadlock, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || deadlock.Code != "40P01" || attempt == 5 {
			return fmt.Errorf("empty the benchmark's tables: %w", err)
		}
	}
	if err := e.Redis.FlushDB(ctx).Err(); err != nil {
		return fmt.Errorf("empty the benchmark's Redis database: %w", err)
	}
	if err := e.Quiesce(ctx, tables...); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.loaded = 0
	return nil
}

// Quiesce does what PostgreSQL would do by itself during the measurement, at a
// time of its own choice: vacuum, statistics, a checkpoint.
func (e *Env) Quiesce(ctx context.Context, tables ...string) error {
	for _, table := range tables {
		if _, err := e.Admin.Exec(ctx, "VACUUM ANALYZE "+table); err != nil {
			return fmt.Errorf("vacuum %s: %w", table, err)
		}
	}
	// Only a privileged user may; a measurement without it is merely noisier.
	if _, err := e.Admin.Exec(ctx, "CHECKPOINT"); err != nil && ctx.Err() != nil {
		return err
	}
	return e.awaitRedis(ctx)
}

// awaitRedis lets Redis finish what it writes in a process of its own, within
// reason.
func (e *Env) awaitRedis(ctx context.Context) error {
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for range 600 {
		info, err := e.Redis.Info(ctx, "persistence").Result()
		if err != nil {
			return fmt.Errorf("ask Redis what it is writing: %w", err)
		}
		if !strings.Contains(info, "_in_progress:1") {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
	return nil
}

// Every event has an ID and a due time of its own, as if it came from a
// transaction of its own. The ID is what outbox_new_id would make, less costly.
const loadSQL = `
INSERT INTO outbox (id, event_type, payload, available_at)
SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7' ||
        substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid,
       'bench:event', $2, clock_timestamp()
FROM generate_series(1, $1)`

const (
	// loadChunk is how many events one transaction writes, and loaders how many
	// do so at once.
	loadChunk = 25_000
	loaders   = 2
)

// Load writes n due events, with the least trouble for the server. Their payload
// is a JSON string of that many bytes, at least 2.
func (e *Env) Load(ctx context.Context, n, payloadBytes int) error {
	payload := jsonString(payloadBytes)
	e.Progress.Start("load", int64(n))
	defer e.Progress.Done()
	loading, loadCtx := errgroup.WithContext(ctx)
	loading.SetLimit(loaders)
	for left := n; left > 0; left -= loadChunk {
		chunk := min(left, loadChunk)
		loading.Go(func() error {
			_, err := e.Admin.Exec(loadCtx, loadSQL, chunk, payload)
			e.Progress.Add(int64(chunk))
			return err
		})
	}
	if err := loading.Wait(); err != nil {
		return fmt.Errorf("load %d events: %w", n, err)
	}
	e.mu.Lock()
	e.loaded += int64(n)
	e.mu.Unlock()
	return e.Quiesce(ctx, "outbox")
}

func jsonString(length int) []byte {
	text := make([]byte, max(length, 2))
	for i := range text {
		text[i] = 'x'
	}
	text[0], text[len(text)-1] = '"', '"'
	return text
}

// Delivered returns how many tasks wait in the queue, which costs Redis
// nothing. Nobody takes tasks away while a benchmark of the relay runs.
func (e *Env) Delivered(ctx context.Context) (int64, error) {
	n, err := e.Redis.LLen(ctx, "asynq:{"+Queue+"}:pending").Result()
	if err != nil {
		return 0, fmt.Errorf("count the tasks in Redis: %w", err)
	}
	return n, nil
}

const (
	lookEvery = 2 * time.Millisecond
	// A drain that has not moved for this long is looked at in the table: the
	// tasks may have been taken away by a worker.
	stalled = time.Second
	// stuck is when a drain that does not move is given up.
	stuck = 2 * time.Minute
)

var errStuck = errors.New("the relay has moved nothing for 2 minutes; --log-level=debug says more")

// WaitDelivered returns when that many tasks are in Redis; seen (nil: nobody)
// is called with each number on the way.
func (e *Env) WaitDelivered(ctx context.Context, n int64, seen func(int64)) error {
	return e.watch(ctx, seen, func(delivered int64, _ time.Duration) (bool, error) { return delivered >= n, nil })
}

// WaitDrained returns when the outbox is empty. While tasks arrive it looks at
// Redis only: a look at a table whose rows have just been deleted is work for
// the server that is being measured.
func (e *Env) WaitDrained(ctx context.Context) error {
	e.mu.Lock()
	loaded := e.loaded
	e.mu.Unlock()
	return e.watch(ctx, nil, func(delivered int64, idle time.Duration) (bool, error) {
		if delivered < loaded && idle < stalled {
			return false, nil
		}
		return e.drained(ctx)
	})
}

func (e *Env) drained(ctx context.Context) (bool, error) {
	var empty bool
	err := e.Admin.QueryRow(ctx, "SELECT NOT EXISTS (SELECT FROM outbox)").Scan(&empty)
	if err != nil {
		return false, fmt.Errorf("look at the outbox: %w", err)
	}
	return empty, nil
}

// watch polls the number of delivered events until done says so; idle is how
// long the number has been the same.
func (e *Env) watch(ctx context.Context, seen func(int64), done func(delivered int64, idle time.Duration) (bool, error)) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	last, moved := int64(-1), time.Now()
	for {
		delivered, err := e.Delivered(ctx)
		if err != nil {
			return err
		}
		if delivered != last {
			e.Progress.Add(delivered - max(last, 0))
			last, moved = delivered, time.Now()
			if seen != nil {
				seen(delivered)
			}
		}
		idle := time.Since(moved)
		switch over, err := done(delivered, idle); {
		case err != nil || over:
			return err
		case idle > stuck:
			return errStuck
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
}
