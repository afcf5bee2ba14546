package effects

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/rival"
	"outboxd/app/bench/tally"
	"outboxd/client/consumer"
	"outboxd/domain"
	"outboxd/jobs/work"
)

// effectArms are the arms (variants) of the benchmark effects, all with the same
// network delay to the servers.
type effectArms struct {
	single, batch, nothing, external, floor, key, keyBatch *result.Contender
}

func (a *effectArms) list() []*result.Contender {
	return []*result.Contender{a.single, a.batch, a.nothing, a.external, a.floor, a.key, a.keyBatch}
}

func (f *effects) contenders(ctx context.Context, e *env.Env, where string) (*effectArms, error) {
	loop := &rival.Effects{Env: e, Effect: effectSQL, AtOnce: f.atOnce}
	if err := loop.Prepare(ctx); err != nil {
		return nil, err
	}
	single, batch := oneByOne(e, f.atOnce), inBatches(e, f.gathered)
	return &effectArms{
		single:   f.effectArm(e, "one by one"+where, f.Events, e.Load, everyEffect, single),
		batch:    f.effectArm(e, "in batches"+where, f.Events, e.Load, everyEffect, batch),
		key:      f.effectArm(e, "one key, one by one"+where, f.keyed, e.LoadKey, everyEffect, single),
		keyBatch: f.effectArm(e, "one key, in batches"+where, f.keyed, e.LoadKey, everyEffect, batch),
		nothing:  f.effectArm(e, "without effect"+where, f.Events, e.Load, nil, func(ctx context.Context, t *tally.Tally) func() error { return f.runIdle(ctx, e, t) }),
		external: f.effectArm(e, "external"+where, f.Events, e.Load, everyDelivery, func(ctx context.Context, t *tally.Tally) func() error { return f.runExternal(ctx, e, t) }),
		floor: &result.Contender{Name: "floor" + where, Run: func(ctx context.Context) (result.Measurement, error) {
			e.Progress.Start("floor"+where, int64(f.Events))
			defer e.Progress.Done()
			loop.Done = func() { e.Progress.Add(1) }
			begun := time.Now()
			if err := loop.Run(ctx, f.Events); err != nil {
				return result.Measurement{}, err
			}
			took := time.Since(begun)
			n, err := loop.Taken(ctx)
			if err == nil && n != f.Events {
				err = fmt.Errorf("the floor has %d of %d effects", n, f.Events)
			}
			return result.Measurement{Rate: result.PerSecond(f.Events, took)}, err
		}},
	}, nil
}

// manyEffects writes the effects of several events by one statement.
func manyEffects(ctx context.Context, tx domain.Effects, tasks []work.Task) error {
	ids := make([]string, len(tasks))
	for i, task := range tasks {
		ids[i] = task.EventID.String()
	}
	_, err := tx.Tx().ExecContext(ctx, "INSERT INTO "+effectsTable+" (event_id) SELECT unnest($1::uuid[])", ids)
	return err
}

// running starts a worker that carries out events until stop is called.
type running = func(ctx context.Context, t *tally.Tally) (stop func() error)

// oneByOne returns a worker that carries out each event in a transaction of its own,
// atOnce tasks at a time.
func oneByOne(e *env.Env, atOnce int) running {
	return func(ctx context.Context, t *tally.Tally) func() error {
		return e.RunWorkerWith(ctx, func(o *work.Options) {
			o.Handlers = map[string]work.Handler{env.EventType: func(ctx context.Context, tx domain.Effects, task work.Task) error {
				_, err := tx.Tx().ExecContext(ctx, effectSQL, task.EventID)
				return err
			}}
			o.Concurrency, o.Inbox = atOnce, t.Inbox(o.Inbox)
		})
	}
}

// inBatches returns a worker that takes atOnce tasks at a time, and carries out up to
// atOnce events in one transaction.
func inBatches(e *env.Env, atOnce int) running {
	return func(ctx context.Context, t *tally.Tally) func() error {
		return e.RunWorkerWith(ctx, func(o *work.Options) {
			o.Batches = map[string]work.Batch{env.EventType: {Max: atOnce, Handle: manyEffects}}
			o.Concurrency, o.Inbox = atOnce, t.Inbox(o.Inbox)
		})
	}
}

// effectArm returns an arm that loads events and starts a relay and a worker.
// The arm measures from that start until every event is counted.
func (f *effects) effectArm(e *env.Env, name string, events int, load func(ctx context.Context, n, payload int) error, check func(context.Context, *env.Env, int) error, run running) *result.Contender {
	return &result.Contender{Name: name, Run: func(ctx context.Context) (result.Measurement, error) {
		if err := load(ctx, events, f.Payload); err != nil {
			return result.Measurement{}, err
		}
		e.Progress.Start(name, int64(events))
		defer e.Progress.Done()
		t := tally.New(e, events)
		r := e.NewRelay(nil)
		begun := time.Now()
		stopRelay := e.RunRelay(ctx, r)
		stopWorker := run(ctx, t)
		err := t.Wait(ctx)
		took := time.Since(begun)
		if err = errors.Join(err, stopWorker(), stopRelay()); err == nil && check != nil {
			err = check(ctx, e, events)
		}
		measured := result.Measurement{Rate: result.PerSecond(events, took)}
		if commits := t.Commits(); commits > 0 {
			measured.Figures = map[string]float64{"commits": float64(commits)}
		}
		return measured, err
	}}
}

// runIdle runs an Asynq worker whose handler only counts.
func (f *effects) runIdle(ctx context.Context, e *env.Env, t *tally.Tally) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- consumer.Run(ctx, e.RedisOpt, asynq.Config{Concurrency: f.atOnce, LogLevel: asynq.FatalLevel}, asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
			t.Add(1)
			return nil
		}))
	}()
	return func() error { cancel(); return <-ended }
}
