package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/rival"
	"outboxd/client/consumer"
	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/jobs/deliver"
	"outboxd/jobs/work"
	"outboxd/repository"
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
	single := func(ctx context.Context, t *tally) func() error {
		return e.RunWorkerWith(ctx, func(o *work.Options) {
			o.Handlers = map[string]work.Handler{env.EventType: func(ctx context.Context, tx domain.Effects, task work.Task) error {
				_, err := tx.Tx().ExecContext(ctx, effectSQL, task.EventID)
				return err
			}}
			o.Concurrency, o.Inbox = f.atOnce, tallied{o.Inbox, t}
		})
	}
	batch := func(ctx context.Context, t *tally) func() error {
		return e.RunWorkerWith(ctx, func(o *work.Options) {
			o.Batches = map[string]work.Batch{env.EventType: {Max: f.gathered, Handle: manyEffects}}
			o.Concurrency, o.Inbox = f.gathered, tallied{o.Inbox, t}
		})
	}
	return &effectArms{
		single:   f.effectArm(e, "one by one"+where, f.events, e.Load, everyEffect, single),
		batch:    f.effectArm(e, "in batches"+where, f.events, e.Load, everyEffect, batch),
		key:      f.effectArm(e, "one key, one by one"+where, f.keyed, e.LoadKey, everyEffect, single),
		keyBatch: f.effectArm(e, "one key, in batches"+where, f.keyed, e.LoadKey, everyEffect, batch),
		nothing:  f.effectArm(e, "without effect"+where, f.events, e.Load, nil, func(ctx context.Context, t *tally) func() error { return f.runIdle(ctx, e, t) }),
		external: f.effectArm(e, "external"+where, f.events, e.Load, everyDelivery, func(ctx context.Context, t *tally) func() error { return f.runExternal(ctx, e, t) }),
		floor: &result.Contender{Name: "floor" + where, Run: func(ctx context.Context) (result.Measurement, error) {
			e.Progress.Start("floor"+where, int64(f.events))
			defer e.Progress.Done()
			loop.Done = func() { e.Progress.Add(1) }
			begun := time.Now()
			if err := loop.Run(ctx, f.events); err != nil {
				return result.Measurement{}, err
			}
			took := time.Since(begun)
			n, err := loop.Taken(ctx)
			if err == nil && n != f.events {
				err = fmt.Errorf("the floor has %d of %d effects", n, f.events)
			}
			return result.Measurement{Rate: result.PerSecond(f.events, took)}, err
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

// effectArm returns an arm that loads events and starts a relay and a worker.
// The arm measures from that start until every event is counted.
func (f *effects) effectArm(e *env.Env, name string, events int, load func(ctx context.Context, n, payload int) error, check func(context.Context, *env.Env, int) error, run func(context.Context, *tally) (stop func() error)) *result.Contender {
	return &result.Contender{Name: name, Run: func(ctx context.Context) (result.Measurement, error) {
		if err := load(ctx, events, f.payload); err != nil {
			return result.Measurement{}, err
		}
		e.Progress.Start(name, int64(events))
		defer e.Progress.Done()
		t := newTally(e, events)
		r := e.NewRelay(nil)
		begun := time.Now()
		stopRelay := e.RunRelay(ctx, r)
		stopWorker := run(ctx, t)
		err := t.wait(ctx)
		took := time.Since(begun)
		if err = errors.Join(err, stopWorker(), stopRelay()); err == nil && check != nil {
			err = check(ctx, e, events)
		}
		measured := result.Measurement{Rate: result.PerSecond(events, took)}
		if commits := t.commits.Load(); commits > 0 {
			measured.Figures = map[string]float64{"commits": float64(commits)}
		}
		return measured, err
	}}
}

// runIdle runs an Asynq worker whose handler only counts.
func (f *effects) runIdle(ctx context.Context, e *env.Env, t *tally) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- consumer.Run(ctx, e.RedisOpt, asynq.Config{Concurrency: f.atOnce, LogLevel: asynq.FatalLevel}, asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
			t.add(1)
			return nil
		}))
	}()
	return func() error { cancel(); return <-ended }
}

// receiverTakes is how long the receiver of "external" takes to answer.
const receiverTakes = time.Millisecond

func (f *effects) runExternal(ctx context.Context, e *env.Env, t *tally) (stop func() error) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(receiverTakes):
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	to := setup.Subscription{Name: "bench", URL: server.URL, Concurrency: f.atOnce}.WithDefaults()
	sender := deliver.NewSender(deliver.SenderOptions{Guard: deliver.NewGuard(netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")), Connections: f.atOnce})
	receiver := deliver.NewReceiver(sender, deliver.ReceiverOptions{Target: deliver.TargetOf(&to)})
	stopWorker := e.RunWorkerWith(ctx, func(o *work.Options) {
		o.Any, o.Name = deliver.Handler(deliver.HandlerOptions{
			Subscription: to, Receiver: receiver, Journal: repository.NewDeliveryJournal(e.DB),
			Metrics: deliver.NewMetrics(prometheus.NewRegistry()), Actor: "bench", Logger: e.Log,
		}), "deliveries"
		o.Concurrency, o.Gate, o.Inbox = f.atOnce, receiver, tallied{o.Inbox, t}
	})
	return func() error {
		err := stopWorker()
		sender.Close()
		server.Close()
		return err
	}
}

// tally counts what was committed.
type tally struct {
	progress *env.Progress
	want     int64
	n        atomic.Int64
	commits  atomic.Int64
	full     chan struct{}
}

func newTally(e *env.Env, want int) *tally {
	return &tally{progress: e.Progress, want: int64(want), full: make(chan struct{})}
}

func (t *tally) add(n int64) {
	t.progress.Add(n)
	if now := t.n.Add(n); now >= t.want && now-n < t.want {
		close(t.full)
	}
}

// effectsPatience is how long an arm may take before the benchmark gives up.
const effectsPatience = 10 * time.Minute

func (t *tally) wait(ctx context.Context) error {
	limit := time.NewTimer(effectsPatience)
	defer limit.Stop()
	select {
	case <-t.full:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-limit.C:
		return fmt.Errorf("after %v only %d of %d events took effect", effectsPatience, t.n.Load(), t.want)
	}
}

// tallied wraps an inbox and counts the inbox's commits.
type tallied struct {
	domain.Inbox
	t *tally
}

// Process implements domain.Inbox.
func (i tallied) Process(ctx context.Context, id domain.ID, effect func(context.Context, domain.Effects) error) (first bool, err error) {
	if first, err = i.Inbox.Process(ctx, id, effect); first && err == nil {
		i.t.commits.Add(1)
		i.t.add(1)
	}
	return first, err
}

// ProcessAll implements domain.Inbox.
func (i tallied) ProcessAll(ctx context.Context, ids []domain.ID, effect func(context.Context, domain.Effects, []domain.ID) error) ([]domain.Confirmation, error) {
	var took int64
	list, err := i.Inbox.ProcessAll(ctx, ids, func(ctx context.Context, tx domain.Effects, first []domain.ID) error {
		took = int64(len(first))
		return effect(ctx, counted{tx, &took}, first)
	})
	if err != nil {
		return nil, err
	}
	i.t.commits.Add(1)
	i.t.add(took)
	return list, nil
}

// counted also counts the followers: later events of the same ordering keys that
// take effect in the same transaction.
type counted struct {
	domain.Effects
	took *int64
}

// Follow implements domain.Followers.
func (c counted) Follow(ctx context.Context, owners []domain.ID, eventType, queue string, most int) ([]domain.Follower, error) {
	with, able := c.Effects.(domain.Followers)
	if !able {
		return nil, nil
	}
	list, err := with.Follow(ctx, owners, eventType, queue, most)
	*c.took += int64(len(list))
	return list, err
}

// everyEffect fails unless every event has one effect and is confirmed.
func everyEffect(ctx context.Context, e *env.Env, events int) error {
	return once(ctx, e, events, "SELECT count(*), count(DISTINCT event_id) FROM "+effectsTable+" JOIN inbox USING (event_id)")
}

// everyDelivery fails unless every event was delivered once.
func everyDelivery(ctx context.Context, e *env.Env, events int) error {
	return once(ctx, e, events, "SELECT count(*), count(DISTINCT event_id) FROM outbox_journal JOIN inbox USING (event_id) WHERE entry = 'delivered'")
}

func once(ctx context.Context, e *env.Env, events int, query string) error {
	var all, different int
	if err := e.Admin.QueryRow(ctx, query).Scan(&all, &different); err != nil {
		return fmt.Errorf("count the effects: %w", err)
	}
	if all != events || different != events {
		return fmt.Errorf("%d effects of %d events, of %d: the figure would mean nothing", all, different, events)
	}
	return nil
}
