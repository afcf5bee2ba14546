package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"outboxd/app/bench/effects"
	"outboxd/app/bench/env"
)

// manyWorkers is how many jobs River works at once in its second arm.
const manyWorkers = 200

// riverConns bounds the connections of River and its workers.
const riverConns = 48

// riverWith is River, with a number of workers. River's documentation says that the fetch
// cooldown limits the throughput. Here the cooldown is the shortest that River accepts.
// Jobs are completed in the transaction of their effect, by JobCompleteTx.
type riverWith struct {
	env     *env.Env
	effect  string
	workers int
}

// jobArgs are the arguments of a job.
type jobArgs struct {
	EventID uuid.UUID `json:"event_id"`
	Payload string    `json:"payload"`
}

// Kind implements river.JobArgs.
func (jobArgs) Kind() string { return "bench" }

func newRiver(ctx context.Context, e *env.Env, effect string, workers int) (*riverWith, error) {
	migrator, err := rivermigrate.New(riverpgxv5.New(e.Admin), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, fmt.Errorf("prepare River's tables: %w", err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, fmt.Errorf("make River's tables: %w", err)
	}
	return &riverWith{env: e, effect: effect, workers: workers}, nil
}

func (r *riverWith) peer() effects.Peer {
	return effects.Peer{Name: fmt.Sprintf("river_%d", r.workers), Load: r.load, Run: r.run}
}

func (r *riverWith) load(ctx context.Context, n, payload int) error {
	client, err := river.NewClient(riverpgxv5.New(r.env.Admin), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	if _, err := r.env.Admin.Exec(ctx, "TRUNCATE river_job"); err != nil {
		return fmt.Errorf("empty River's table: %w", err)
	}
	text := string(env.Payload(payload))
	const most = 10_000
	for left := n; left > 0; left -= most {
		jobs := make([]river.InsertManyParams, min(left, most))
		for i := range jobs {
			id, err := uuid.NewV7()
			if err != nil {
				return err
			}
			jobs[i].Args = jobArgs{EventID: id, Payload: text}
		}
		if _, err := client.InsertManyFast(ctx, jobs); err != nil {
			return fmt.Errorf("insert jobs: %w", err)
		}
	}
	return r.env.Quiesce(ctx, "river_job")
}

// worker makes the effect of a job.
type worker struct {
	river.WorkerDefaults[jobArgs]
	pool   *pgxpool.Pool
	effect string
	done   func()
}

// Work implements river.Worker.
func (w *worker) Work(ctx context.Context, job *river.Job[jobArgs]) error {
	tx, err := w.pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, w.effect, job.Args.EventID); err != nil {
		return fmt.Errorf("write an effect: %w", err)
	}
	if _, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job); err != nil {
		return fmt.Errorf("complete the job: %w", err)
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	w.done()
	return nil
}

func (r *riverWith) run(ctx context.Context, done func()) error {
	pool, err := env.Pool(ctx, r.env.DatabaseURL, riverConns)
	if err != nil {
		return err
	}
	defer pool.Close()
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{pool: pool, effect: r.effect, done: done})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: r.workers}},
		FetchCooldown: river.FetchCooldownMin, FetchPollInterval: 10 * time.Millisecond,
		Workers: workers, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	if err := client.Start(ctx); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	<-ctx.Done()
	<-client.Stopped()
	return nil
}
