package effects

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/bench/costing"
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
	single, together, batch, nothing, external, floor, key, keyBatch *result.Contender
}

func (a *effectArms) list() []*result.Contender {
	return []*result.Contender{a.single, a.together, a.batch, a.nothing, a.external, a.floor, a.key, a.keyBatch}
}

func (f *effects) contenders(ctx context.Context, e *env.Env, where string) (*effectArms, error) {
	loop := &rival.Effects{Env: e, Effect: effectSQL, AtOnce: f.atOnce}
	if err := loop.Prepare(ctx); err != nil {
		return nil, err
	}
	single, together, batch := oneByOne(e, f.atOnce), inShared(e, f.gathered, work.Together(oneEffect)), inBatches(e, f.gathered)
	return &effectArms{
		single:   f.effectArm(e, "one by one"+where, f.Events, e.Load, everyEffect, single),
		together: f.effectArm(e, "together"+where, f.Events, e.Load, everyEffect, together),
		batch:    f.effectArm(e, "in batches"+where, f.Events, e.Load, everyEffect, batch),
		key:      f.effectArm(e, "one key, one by one"+where, f.keyed, e.LoadKey, everyEffect, single),
		keyBatch: f.effectArm(e, "one key, in batches"+where, f.keyed, e.LoadKey, everyEffect, batch),
		nothing:  f.effectArm(e, "without effect"+where, f.Events, e.Load, nil, func(ctx context.Context, t *tally.Tally) func() error { return f.runIdle(ctx, e, t) }),
		external: f.effectArm(e, "external"+where, f.Events, e.Load, everyDelivery, func(ctx context.Context, t *tally.Tally) func() error { return f.runExternal(ctx, e, t) }),
		floor: &result.Contender{Name: "floor" + where, Run: func(ctx context.Context) (result.Measurement, error) {
			e.Progress.Start("floor"+where, int64(f.Events))
			defer e.Progress.Done()
			loop.Done = func() { e.Progress.Add(1) }
			figures := map[string]float64{}
			count, err := f.countProcessors(ctx, e, f.Events, figures)
			if err != nil {
				return result.Measurement{}, err
			}
			begun := time.Now()
			if err := loop.Run(ctx, f.Events); err != nil {
				return result.Measurement{}, err
			}
			took := time.Since(begun)
			if err := count(); err != nil {
				return result.Measurement{}, err
			}
			n, err := loop.Taken(ctx)
			if err == nil && n != f.Events {
				err = fmt.Errorf("the floor has %d of %d effects", n, f.Events)
			}
			return result.Measurement{Rate: result.PerSecond(f.Events, took), Figures: figures}, err
		}},
	}, nil
}

// oneEffect writes the effect of an event.
func oneEffect(ctx context.Context, tx domain.Effects, task work.Task) error {
	_, err := tx.Tx().ExecContext(ctx, effectSQL, task.EventID)
	return err
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

// running starts a worker that carries out tasks until stop is called.
type running = func(ctx context.Context, t *tally.Tally) (stop func() error)

// oneByOne returns a worker that carries out each task in a transaction of its own,
// atOnce tasks at a time.
func oneByOne(e *env.Env, atOnce int) running {
	return func(ctx context.Context, t *tally.Tally) func() error {
		return e.RunWorkerWith(ctx, func(o *work.Options) {
			o.Handlers = map[string]work.Handler{env.EventType: oneEffect}
			o.Concurrency, o.Inbox = atOnce, t.Inbox(o.Inbox)
		})
	}
}

// inBatches returns a worker that writes the effects of a transaction by one statement.
func inBatches(e *env.Env, atOnce int) running {
	return inShared(e, atOnce, work.Batch{Handle: manyEffects})
}

// inShared returns a worker that takes up to atOnce tasks at a time, and carries out up
// to atOnce tasks in one transaction.
func inShared(e *env.Env, atOnce int, batch work.Batch) running {
	batch.Max = atOnce
	return func(ctx context.Context, t *tally.Tally) func() error {
		return e.RunWorkerWith(ctx, func(o *work.Options) {
			o.Batches = map[string]work.Batch{env.EventType: batch}
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
		figures := map[string]float64{}
		count, err := f.countProcessors(ctx, e, events, figures)
		if err != nil {
			return result.Measurement{}, err
		}
		begun := time.Now()
		stopRelay := e.RunRelay(ctx, r)
		stopWorker := run(ctx, t)
		err = t.Wait(ctx)
		took := time.Since(begun)
		if err = errors.Join(err, count(), stopWorker(), stopRelay()); err == nil && check != nil {
			err = check(ctx, e, events)
		}
		if commits := t.Commits(); commits > 0 {
			figures["commits"] = float64(commits)
		}
		return result.Measurement{Rate: result.PerSecond(events, took), Figures: figures}, err
	}}
}

// countProcessors reads the processor times of all parts. The returned function reads
// them again, and puts into the map figures what each event took, in µs, divided by the
// number of rounds. A report adds up the figures of all rounds, so it then has the mean
// of the rounds.
func (f *effects) countProcessors(ctx context.Context, e *env.Env, events int, figures map[string]float64) (count func() error, err error) {
	before, err := costing.ReadProcessors(ctx, e)
	return func() error {
		after, err := costing.ReadProcessors(ctx, e)
		each := func(micros float64) float64 { return micros / float64(events*f.Rounds) }
		figures["outboxd_us"] = each(after.Outboxd - before.Outboxd)
		figures["postgresql_us"] = each(after.PostgreSQL - before.PostgreSQL)
		figures["redis_us"] = each(after.Redis - before.Redis)
		return err
	}, err
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
