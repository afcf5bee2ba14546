package rival

import (
	"context"
	"fmt"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"

	"outboxd/app/bench/env"
)

// Textbook is the loop by which the outbox pattern is usually explained. One
// transaction reads ten rows in the order of their creation, enqueues them one by
// one and marks them as processed. Unlike the loops of most examples, Textbook
// does not sleep between two rounds. Textbook has a table of its own, with the
// index that such examples have.
type Textbook struct {
	Env   *env.Env
	Moved func(n int) // called after each commit
}

const textbookBatch = 10

const textbookTableSQL = `
CREATE TABLE IF NOT EXISTS textbook_outbox (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    event_type   text        NOT NULL,
    payload      bytea       NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    processed_at timestamptz);
CREATE INDEX IF NOT EXISTS textbook_outbox_pending ON textbook_outbox (created_at) WHERE processed_at IS NULL`

const textbookLoadSQL = `
INSERT INTO textbook_outbox (event_type, payload, created_at)
SELECT 'bench:event', $2, clock_timestamp() FROM generate_series(1, $1)`

const textbookClaimSQL = `
SELECT id::text, event_type, payload FROM textbook_outbox
WHERE processed_at IS NULL
ORDER BY created_at
LIMIT $1
FOR UPDATE SKIP LOCKED`

const textbookMarkSQL = `UPDATE textbook_outbox SET processed_at = now() WHERE id = ANY($1::uuid[])`

type textbookEvent struct {
	ID, Type string
	Payload  []byte
}

// Load makes the table and writes n events into it.
func (t *Textbook) Load(ctx context.Context, n, payloadBytes int) error {
	if _, err := t.Env.Admin.Exec(ctx, textbookTableSQL); err != nil {
		return fmt.Errorf("make the textbook's table: %w", err)
	}
	if _, err := t.Env.Admin.Exec(ctx, textbookLoadSQL, n, env.Payload(payloadBytes)); err != nil {
		return fmt.Errorf("load %d events into the textbook's table: %w", n, err)
	}
	return t.Env.Quiesce(ctx, "textbook_outbox")
}

// Run returns when every event is processed.
func (t *Textbook) Run(ctx context.Context) error {
	client := asynq.NewClient(t.Env.RedisOpt)
	defer client.Close()
	for {
		n, err := t.pass(ctx, client)
		if err != nil || n == 0 {
			return err
		}
		t.Moved(n)
	}
}

func (t *Textbook) pass(ctx context.Context, client *asynq.Client) (int, error) {
	tx, err := t.Env.Admin.Begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // does nothing after the commit
	rows, err := tx.Query(ctx, textbookClaimSQL, textbookBatch)
	if err != nil {
		return 0, fmt.Errorf("select pending events: %w", err)
	}
	events, err := pgx.CollectRows(rows, pgx.RowToStructByPos[textbookEvent])
	if err != nil {
		return 0, fmt.Errorf("read pending events: %w", err)
	}
	ids := make([]string, len(events))
	for i, event := range events {
		ids[i] = event.ID
		if _, err := client.EnqueueContext(ctx, asynq.NewTask(event.Type, event.Payload), asynq.TaskID(event.ID), asynq.Queue(env.Queue)); err != nil {
			return 0, fmt.Errorf("enqueue: %w", err)
		}
	}
	if _, err := tx.Exec(ctx, textbookMarkSQL, ids); err != nil {
		return 0, fmt.Errorf("mark %d events: %w", len(ids), err)
	}
	if err := tx.Commit(ctx); err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	return len(events), nil
}
