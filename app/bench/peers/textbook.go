package main

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"golang.org/x/sync/errgroup"

	"outboxd/app/bench/effects"
	"outboxd/app/bench/env"
	"outboxd/app/bench/rival"
)

// textbook is the loop of rival.Textbook and a plain Asynq worker, whose handler writes
// the effect and a row of an inbox in one transaction.
type textbook struct {
	env    *env.Env
	effect string
	atOnce int
}

func (t *textbook) peer() effects.Peer {
	return effects.Peer{Name: "textbook", Load: t.load, Run: t.run}
}

const (
	inboxTableSQL = "CREATE TABLE IF NOT EXISTS textbook_inbox (event_id uuid PRIMARY KEY, processed_at timestamptz NOT NULL DEFAULT now())"
	inboxSQL      = "INSERT INTO textbook_inbox (event_id) VALUES ($1) ON CONFLICT DO NOTHING"
)

func (t *textbook) load(ctx context.Context, n, payload int) error {
	for _, statement := range []string{inboxTableSQL, "TRUNCATE textbook_inbox"} {
		if _, err := t.env.Admin.Exec(ctx, statement); err != nil {
			return fmt.Errorf("prepare the inbox: %w", err)
		}
	}
	loop := &rival.Textbook{Env: t.env}
	return loop.Load(ctx, n, payload)
}

func (t *textbook) run(ctx context.Context, done func()) error {
	running, working := errgroup.WithContext(ctx)
	running.Go(func() error {
		loop := &rival.Textbook{Env: t.env, Moved: func(int) {}}
		if err := loop.Run(working); err != nil && ctx.Err() == nil {
			return err
		}
		return nil
	})
	running.Go(func() error {
		server := asynq.NewServer(t.env.RedisOpt, asynq.Config{Concurrency: t.atOnce, Queues: map[string]int{env.Queue: 1}, LogLevel: asynq.FatalLevel})
		err := server.Start(asynq.HandlerFunc(func(ctx context.Context, _ *asynq.Task) error { return t.once(ctx, done) }))
		if err != nil {
			return fmt.Errorf("start Asynq's server: %w", err)
		}
		<-working.Done()
		server.Shutdown()
		return nil
	})
	return running.Wait()
}

func (t *textbook) once(ctx context.Context, done func()) error {
	text, _ := asynq.GetTaskID(ctx)
	id, err := uuid.Parse(text)
	if err != nil {
		return fmt.Errorf("read the task's ID: %w", err)
	}
	tx, err := t.env.Admin.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	tag, err := tx.Exec(ctx, inboxSQL, id)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	if _, err := tx.Exec(ctx, t.effect, id); err != nil {
		return fmt.Errorf("write an effect: %w", err)
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	done()
	return nil
}
