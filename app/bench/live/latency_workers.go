package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/traffic"
	"outboxd/config"
	"outboxd/domain"
	"outboxd/jobs/work"
)

// effectsTableSQL makes the table that the handlers write their effects to.
const effectsTableSQL = "CREATE TABLE IF NOT EXISTS bench_effects (event_id uuid NOT NULL, made_at timestamptz NOT NULL DEFAULT now())"

// timedWorker is a worker that reports to the stopwatch when handlers begin and when
// effects are committed.
type timedWorker struct {
	suffix string // of the names of its arms
	handle func(o *work.Options, e *env.Env, s *traffic.Stopwatch)
}

func timedWorkers() []timedWorker {
	return []timedWorker{
		{"", func(o *work.Options, _ *env.Env, s *traffic.Stopwatch) {
			o.Handlers = map[string]work.Handler{traffic.EventType: func(_ context.Context, _ domain.Effects, task work.Task) error {
				s.Started(task.EventID)
				return nil
			}}
		}},
		{", effects one by one", func(o *work.Options, _ *env.Env, s *traffic.Stopwatch) {
			o.Handlers = map[string]work.Handler{traffic.EventType: oneEffect(s)}
		}},
		{", effects together", func(o *work.Options, e *env.Env, s *traffic.Stopwatch) {
			o.Concurrency = batchTasks(e)
			o.Batches = map[string]work.Batch{traffic.EventType: work.Together(oneEffect(s))}
		}},
		{", effects in batches", func(o *work.Options, e *env.Env, s *traffic.Stopwatch) {
			o.Concurrency = batchTasks(e)
			o.Batches = map[string]work.Batch{traffic.EventType: {Handle: func(ctx context.Context, tx domain.Effects, tasks []work.Task) error {
				ids := make([]string, len(tasks))
				for i, task := range tasks {
					s.Started(task.EventID)
					ids[i] = task.EventID.String()
				}
				_, err := tx.Tx().ExecContext(ctx, "INSERT INTO bench_effects (event_id) SELECT unnest($1::uuid[])", ids)
				return err
			}}}
		}},
	}
}

// oneEffect returns a handler that writes a row for each event.
func oneEffect(s *traffic.Stopwatch) work.Handler {
	return func(ctx context.Context, tx domain.Effects, task work.Task) error {
		s.Started(task.EventID)
		_, err := tx.Tx().ExecContext(ctx, "INSERT INTO bench_effects (event_id) VALUES ($1)", task.EventID)
		return err
	}
}

// batchTasks returns how many tasks a worker with this configuration runs at once, if its
// handlers have batches.
func batchTasks(e *env.Env) int { return e.Process(config.Handlers{Batches: true}).Sizes().Tasks }

// measure runs the worker, and measures each load with it.
func (w *timedWorker) measure(ctx context.Context, e *env.Env, s *traffic.Stopwatch, warm func(context.Context) error, loads []load) (arms []result.Arm, err error) {
	stop := e.RunWorkerWith(ctx, func(o *work.Options) {
		w.handle(o, e, s)
		o.Inbox = timedInbox{o.Inbox, s}
	})
	defer func() { err = errors.Join(err, stop()) }()
	if err := warm(ctx); err != nil {
		return nil, err
	}
	if _, err := s.Results(ctx); err != nil {
		return nil, err
	}
	for _, l := range loads {
		if l.events == 0 {
			continue
		}
		arm, err := l.measure(ctx, e, s, l.name+w.suffix)
		if err != nil {
			return nil, fmt.Errorf("%s%s: %w", l.name, w.suffix, err)
		}
		arms = append(arms, arm)
	}
	return arms, nil
}

// timedInbox reports committed effects to the stopwatch. Its events have no ordering key,
// so no other events take effect in their transactions.
type timedInbox struct {
	domain.Inbox
	s *traffic.Stopwatch
}

// Process implements domain.Inbox.
func (i timedInbox) Process(ctx context.Context, id domain.ID, effect func(context.Context, domain.Effects) error) (first bool, err error) {
	if first, err = i.Inbox.Process(ctx, id, effect); first && err == nil {
		i.s.Effected(id, time.Now())
	}
	return first, err
}

// ProcessAll implements domain.Inbox.
func (i timedInbox) ProcessAll(ctx context.Context, ids []domain.ID, effect func(context.Context, domain.Effects, []domain.ID) error) ([]domain.Confirmation, error) {
	list, err := i.Inbox.ProcessAll(ctx, ids, effect)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for n, confirmation := range list {
		if confirmation.First {
			i.s.Effected(ids[n], now)
		}
	}
	return list, nil
}
