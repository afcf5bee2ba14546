package rival

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protowire"

	"outboxd/app/bench/env"
	"outboxd/domain"
	"outboxd/jobs/broker"
)

// Bare does the minimum of outboxd's work: one statement that moves due events from the
// outbox to the history (or deletes them, if the relay keeps no history), one pipeline of
// scripts to Redis, one commit. Bare handles no failures, ignores the options of
// events, and has no metrics.
type Bare struct {
	Env *env.Env
	// WithCursor makes a claim begin where the last one ended. Without the cursor a
	// claim begins at the start of the index, and has to skip the entries of
	// deleted rows.
	WithCursor bool
	Moved      func(n int) // called after each commit, by several goroutines

	mu     sync.Mutex
	cursor time.Time
}

// The bare loop's goroutines and batch.
const (
	bareWorkers = 2
	bareBatch   = 1000
	// The size of a batch without a cursor. Smaller batches spend more of their time on skipping dead
	// rows. The loop Textbook takes only ten rows at once.
	blindBatch = 500
)

const bareColumns = `id, event_type, payload, headers, queue, max_retry, timeout_seconds, deadline,
    retention_seconds, unique_seconds, available_at, attempts, generation, last_error, created_at`

const bareTakeSQL = `
WITH due AS MATERIALIZED (
    SELECT ctid FROM outbox
    WHERE available_at <= now() AND available_at >= $1
    ORDER BY available_at, id
    LIMIT $2
    FOR UPDATE SKIP LOCKED),
taken AS (DELETE FROM outbox WHERE ctid = ANY(ARRAY(SELECT ctid FROM due)) RETURNING ` + bareColumns + `)`

const bareReturnSQL = `
SELECT id, event_type, payload, queue, available_at FROM taken`

const bareKeepSQL = `,
kept AS (INSERT INTO outbox_sent (` + bareColumns + `) SELECT ` + bareColumns + ` FROM taken)`

// The script has the same commands, in the same order, as Asynq's own script for
// enqueuing.
var bareScript = redis.NewScript(`
if redis.call("EXISTS", KEYS[1]) == 1 then return 0 end
redis.call("HSET", KEYS[1], "msg", ARGV[1], "state", "pending", "pending_since", ARGV[3])
redis.call("LPUSH", KEYS[2], ARGV[2])
return 1`)

// Run drains the outbox and returns when it finds no due event.
func (l *Bare) Run(ctx context.Context) error {
	client, err := l.Env.NewRedisClient()
	if err != nil {
		return err
	}
	defer client.Close()
	if err := bareScript.Load(ctx, client).Err(); err != nil {
		return fmt.Errorf("load the script: %w", err)
	}
	if err := client.SAdd(ctx, broker.QueuesKey, env.Queue).Err(); err != nil {
		return fmt.Errorf("announce the queue: %w", err)
	}
	statement := bareTakeSQL + bareReturnSQL
	if l.Env.Config.Relay.History > 0 {
		statement = bareTakeSQL + bareKeepSQL + bareReturnSQL
	}
	workers, ctx := errgroup.WithContext(ctx)
	for range bareWorkers {
		workers.Go(func() error { return l.work(ctx, client, statement) })
	}
	return workers.Wait()
}

func (l *Bare) work(ctx context.Context, client redis.UniversalClient, statement string) error {
	for {
		from := l.from()
		n, err := l.pass(ctx, client, statement, from)
		if err != nil {
			return err
		}
		switch {
		case n > 0:
			l.Moved(n)
		case from.IsZero():
			return nil
		default:
			l.to(time.Time{}) // once again, from the start
		}
	}
}

func (l *Bare) from() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cursor
}

// to sets the cursor from which the next claim begins: to the given time, unless the
// cursor is later already, or to the start of the index if the time is zero. Without
// WithCursor it does nothing.
func (l *Bare) to(cursor time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.WithCursor && (cursor.IsZero() || cursor.After(l.cursor)) {
		l.cursor = cursor
	}
}

// pass moves one batch of due events to Redis and to the history, and returns how
// many events it moved.
func (l *Bare) pass(ctx context.Context, client redis.UniversalClient, statement string, from time.Time) (int, error) {
	batch := bareBatch
	if !l.WithCursor {
		batch = blindBatch
	}
	tx, err := l.Env.Admin.Begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // does nothing after the commit
	rows, err := tx.Query(ctx, statement, from, batch)
	if err != nil {
		return 0, fmt.Errorf("take events: %w", err)
	}
	pipeline := client.Pipeline()
	n, last, err := l.enqueue(ctx, rows, pipeline)
	if err != nil || n == 0 {
		return 0, err
	}
	l.to(last)
	if _, err := pipeline.Exec(ctx); err != nil {
		return 0, fmt.Errorf("enqueue %d events: %w", n, err)
	}
	if err := tx.Commit(ctx); err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	return n, nil
}

func (l *Bare) enqueue(ctx context.Context, rows pgx.Rows, pipeline redis.Pipeliner) (n int, last time.Time, err error) {
	now := time.Now().UnixNano()
	var id domain.ID
	var eventType, queue string
	var payload []byte
	var available time.Time
	into := []any{(*[16]byte)(&id), &eventType, &payload, &queue, &available}
	_, err = pgx.ForEachRow(rows, into, func() error {
		taskID := id.String()
		pipeline.EvalSha(ctx, bareScript.Hash(),
			[]string{broker.TaskKey(queue, taskID), broker.PendingKey(queue)},
			taskMessage(eventType, payload, taskID, queue), taskID, now)
		if available.After(last) {
			last = available
		}
		n++
		return nil
	})
	if err != nil {
		return n, last, fmt.Errorf("read the events taken: %w", err)
	}
	return n, last, nil
}

// taskMessage encodes a task with default options as Asynq stores it:
// TaskMessage in its asynq.proto.
func taskMessage(eventType string, payload []byte, taskID, queue string) []byte {
	const (
		maxRetry = 25
		timeout  = 1800 // seconds
	)
	b := make([]byte, 0, len(eventType)+len(payload)+len(taskID)+len(queue)+24)
	b = protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), eventType)
	b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), payload)
	b = protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), taskID)
	b = protowire.AppendString(protowire.AppendTag(b, 4, protowire.BytesType), queue)
	b = protowire.AppendVarint(protowire.AppendTag(b, 5, protowire.VarintType), maxRetry)
	return protowire.AppendVarint(protowire.AppendTag(b, 8, protowire.VarintType), timeout)
}
