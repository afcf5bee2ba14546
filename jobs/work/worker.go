package work

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"outboxd/client/bell"
	"outboxd/client/pipeline"
	"outboxd/client/spare"
	"outboxd/domain"
	"outboxd/jobs/broker"
)

// forwardEvery is how often Asynq looks for tasks whose retry is due.
const forwardEvery = time.Second

// Options are the dependencies and the tuning of a Worker. All are required,
// except Failures, Tracer and fields that say so.
type Options struct {
	Redis *broker.Redis
	Inbox domain.Inbox
	// Failures records failed tasks. Without it, tasks that are given up are
	// only in Asynq's archive.
	Failures domain.FailedTasks
	Handlers map[string]Handler // by task type
	Batches  map[string]Batch   // by task type, of types without a Handler
	Outward  map[string]Outward // by task type, of types without either
	// Any carries out the tasks of all types that have none of these, and Name is what
	// the metrics call those. Without it they stay in their queue.
	Any  Outward
	Name string
	// Gate can stop the worker from taking tasks. nil: no gate.
	Gate        Gate
	Concurrency int            // tasks at once; at least 1
	Queues      map[string]int // queue to weight; at least one
	// PollInterval is how often an idle worker looks for tasks that the bell
	// did not announce: retries that are due, and tasks that other programs
	// enqueued.
	PollInterval time.Duration
	// Drain is how long running tasks may take to finish once the context of
	// Run has ended. Unfinished tasks then go back to the queue.
	Drain    time.Duration
	Logger   *slog.Logger
	Registry prometheus.Registerer
	// Tracer begins a span for each delivery. nil: none.
	Tracer trace.Tracer
}

// Gate is asked by one goroutine before each task that a worker takes.
type Gate interface {
	// Pause returns how long no task should be taken; 0: one may be taken now.
	Pause() time.Duration
	// Took records that a task was taken.
	Took()
}

// Worker runs tasks. Run may be called again after it returned.
type Worker struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	// These limit the log while the database is away, and after it went back.
	outage, early, unknown *rate.Sometimes
	waiting                chan struct{} // a place for each task that waits for its turn
	outside                outside
	records                records
	spared                 spare.Tasks
	unhandled              tally
}

// New returns a Worker. It does not connect.
func New(o Options) *Worker {
	sometimes := func() *rate.Sometimes { return &rate.Sometimes{Interval: 30 * time.Second} }
	return &Worker{
		o: o, log: o.Logger.With("component", "worker"), metrics: newMetrics(o.Registry),
		outage: sometimes(), early: sometimes(), unknown: sometimes(), waiting: make(chan struct{}, o.Concurrency/2),
	}
}

// Run processes tasks until ctx ends, then lets running tasks finish. It waits
// for a Redis that cannot be reached: an outage is no failure.
func (w *Worker) Run(ctx context.Context) error {
	client := w.o.Redis.NewWorkingClient(w.o.Concurrency + 4)
	defer client.Close()
	heard := newComplaints(w.log)
	client.AddHook(heard)
	direct := w.o.Redis.NewDirectClient(directConnections)
	defer direct.Close()
	direct.AddHook(heard)
	// Asynq's server starts without Redis, and then complains once a second.
	if err := w.awaitRedis(ctx, client); err != nil {
		return nil
	}
	w.records.open()
	for queue := range w.o.Queues {
		w.metrics.blocked.WithLabelValues(queue).Set(0)
	}
	piped := pipeline.New(ctx, w.pipeline(client, direct))
	server := asynq.NewServerFromRedisClient(piped, w.config())
	if err := server.Start(w.mux(ctx)); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	w.log.Info("the worker takes tasks", "queues", w.o.Queues, "concurrency", w.o.Concurrency, "task_types", w.types())
	var beside sync.WaitGroup
	beside.Go(func() { listen(ctx, piped.Bell(), client, w.log, heard) })
	<-ctx.Done()
	piped.Release()
	server.Shutdown()
	beside.Wait()
	w.records.wait()
	return nil
}

// directConnections are for one question and one pipeline of endings at a time, and
// for what goes back.
const directConnections = 3

func (w *Worker) pipeline(client, direct redis.UniversalClient) pipeline.Options {
	o := pipeline.Options{
		Spared: &w.spared,
		Redis:  client, Direct: direct, Concurrency: w.o.Concurrency, Queues: w.o.Queues, Every: w.o.PollInterval,
		Watcher: &watcher{redis: direct, log: w.log, blocked: w.metrics.blocked},
	}
	if w.o.Any == nil {
		o.Types = w.types()
	}
	if w.o.Gate != nil {
		o.Gate = w.o.Gate
	}
	return o
}

func (w *Worker) awaitRedis(ctx context.Context, client redis.UniversalClient) error {
	for waiting := false; ; waiting = true {
		err := client.Ping(ctx).Err()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if !waiting {
			w.log.Warn("waiting for Redis", "error", err)
		}
		timer := time.NewTimer(250*time.Millisecond + rand.N(500*time.Millisecond))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

func (w *Worker) config() asynq.Config {
	return asynq.Config{
		Concurrency:              w.o.Concurrency,
		Queues:                   w.o.Queues,
		TaskCheckInterval:        bell.Pause,
		DelayedTaskCheckInterval: forwardEvery,
		ShutdownTimeout:          w.o.Drain,
		RetryDelayFunc:           retryDelay,
		IsFailure:                func(err error) bool { return !isBlameless(err) },
		ErrorHandler:             asynq.ErrorHandlerFunc(w.failed),
		Logger:                   newAsynqLog(w.o.Logger),
		LogLevel:                 asynq.DebugLevel,
	}
}

func (w *Worker) types() []string {
	types := make([]string, 0, len(w.o.Handlers)+len(w.o.Batches)+len(w.o.Outward))
	for name := range w.o.Handlers {
		types = append(types, name)
	}
	for name := range w.o.Batches {
		types = append(types, name)
	}
	for name := range w.o.Outward {
		types = append(types, name)
	}
	slices.Sort(types)
	return types
}
