package env

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

// Reset empties the Redis database and every table but the record of migrations.
func (e *Env) Reset(ctx context.Context) error {
	rows, err := e.Admin.Query(ctx, tablesSQL, e.schema, migrations.Table)
	if err != nil {
		return fmt.Errorf("list the benchmark's tables: %w", err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list the benchmark's tables: %w", err)
	}
	for attempt := 1; ; attempt++ {
		_, err := e.Admin.Exec(ctx, "TRUNCATE "+strings.Join(tables, ", "))
		if err == nil {
			break
		}
		// The last statement of a relay that was just stopped may still run. The relay's
		// statement takes the same locks as Reset in another order, so a deadlock is
		// possible. After a deadlock, Reset tries again, five times in all.
		deadlock, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || deadlock.Code != "40P01" || attempt == 5 {
			return fmt.Errorf("empty the benchmark's tables: %w", err)
		}
	}
	// This table must always have one row: without that row the leader reports an error.
	if _, err := e.Admin.Exec(ctx, "INSERT INTO outbox_queue_identity DEFAULT VALUES"); err != nil {
		return fmt.Errorf("empty the benchmark's tables: %w", err)
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

// Quiesce vacuums and analyses the tables, takes a checkpoint, and waits for what Redis
// writes in the background. So the servers hardly do these things by themselves during
// the measurement.
func (e *Env) Quiesce(ctx context.Context, tables ...string) error {
	for _, table := range tables {
		if _, err := e.Admin.Exec(ctx, "VACUUM ANALYZE "+table); err != nil {
			return fmt.Errorf("vacuum %s: %w", table, err)
		}
	}
	// Only a privileged user may run CHECKPOINT. Without the checkpoint the
	// measurement is noisier, but valid.
	if _, err := e.Admin.Exec(ctx, "CHECKPOINT"); err != nil && ctx.Err() != nil {
		return err
	}
	return e.awaitRedis(ctx)
}

// awaitRedis waits until Redis's background save or rewrite has ended, for about 30
// seconds at most.
func (e *Env) awaitRedis(ctx context.Context) error {
	looks := 0
	return Poll(ctx, 50*time.Millisecond, func() (bool, error) {
		looks++
		info, err := e.Redis.Info(ctx, "persistence").Result()
		if err != nil {
			return false, fmt.Errorf("ask Redis what it is writing: %w", err)
		}
		return looks == 600 || !strings.Contains(info, "_in_progress:1"), nil
	})
}

// EventType is the type of the events that Load writes.
const EventType = "bench:event"

// Every event has an ID of its own and is due at the moment at which its row was
// written, as if it came from its own transaction. The ID has the form of those that
// outbox_new_id makes, but is cheaper to make.
const loadSQL = `
INSERT INTO outbox (id, event_type, payload, available_at)
SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7' ||
        substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid,
       '` + EventType + `', $2, clock_timestamp()
FROM generate_series(1, $1)`

const (
	// loadChunk is how many events one transaction writes, and loaders is how many
	// transactions run at once.
	loadChunk = 25_000
	loaders   = 2
)

// Load writes n due events, and then calls Quiesce for the outbox. The payload of each
// event is a JSON string of payloadBytes bytes, at least 2.
func (e *Env) Load(ctx context.Context, n, payloadBytes int) error {
	payload := Payload(payloadBytes)
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

// LoadKey is like Load, but all events have the same ordering key and are written in one transaction, and WaitDrained
// does not know their number. LoadKey also records in the database that the relay keeps a history. Usually the leader
// does this as a part of healing, which NewRelay switches off.
func (e *Env) LoadKey(ctx context.Context, n, payloadBytes int) error {
	const keyed = `INSERT INTO outbox (event_type, payload, ordering_key) SELECT '` + EventType + `', $2, 'bench' FROM generate_series(1, $1)`
	_, err := e.Admin.Exec(ctx, keyed, n, Payload(payloadBytes))
	if err == nil {
		_, err = e.Admin.Exec(ctx, "UPDATE outbox_queue_identity SET history_seconds = 3600, history_since = now()")
	}
	if err != nil {
		return fmt.Errorf("load %d events of a key: %w", n, err)
	}
	return e.Quiesce(ctx, "outbox")
}

// Payload returns a JSON string of length bytes, at least 2.
func Payload(length int) []byte {
	return []byte(`"` + strings.Repeat("x", max(length-2, 0)) + `"`)
}
