package work

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"outboxd/client/bell"
	"outboxd/client/pipeline"
	"outboxd/client/presence"
	"outboxd/client/spare"
	"outboxd/domain"
	"outboxd/jobs/broker"
)

// forwardEvery is how often Asynq checks for tasks whose retry or scheduled time is due.
const forwardEvery = time.Second

// Options are the dependencies and the tuning of a Worker. All fields are required, except Failures, Version, the handlers and
// those whose comments say otherwise. At least one task type needs a handler.
type Options struct {
	Redis *broker.Redis
	Inbox domain.Inbox
	// Failures records failed tasks. Without Failures, a task that is given up is only moved to Asynq's archive,
	// and its event does not become a dead letter.
	Failures domain.FailedTasks
	Handlers map[string]Handler // by task type
	Batches  map[string]Batch   // by task type, of types without a Handler
	Outward  map[string]Outward // by task type, of types without a Handler or a Batch
	// Any handles the tasks of all types that are in neither Handlers, Batches nor Outward. Name stands for
	// all of these types in the metrics. Without Any, such tasks stay in their queue.
	Any  Outward
	Name string
	// Gate, if not nil, can stop the worker from taking tasks.
	Gate        Gate
	Concurrency int            // tasks at once; at least 1
	Connections int            // to PostgreSQL, at most, for batches of Together; 0: as many as Concurrency
	Queues      map[string]int // queue to weight; at least one
	// PollInterval is how often an idle worker checks its queues. More than 10 s count as 10 s. The relay's
	// bell (a message through Redis) announces new tasks before the next poll, but not tasks of other
	// programs, and not retries that another worker found due.
	PollInterval time.Duration
	// Drain is how long running tasks may still take after the context of Run has ended. After that, unfinished
	// tasks go back to their queue.
	Drain    time.Duration
	Logger   *slog.Logger
	Registry prometheus.Registerer
	// Version is shown in the list of workers. "": it is not known.
	Version string
	// Tracer, if not nil, begins a span for each run of a task.
	Tracer trace.Tracer
}

// Gate is what the worker asks before it takes a task. The worker asks from one goroutine.
type Gate interface {
	// Pause returns how long the worker must not take a task; 0 means that it may take one now.
	Pause() time.Duration
	// Took records that a task was taken.
	Took()
}

// Worker runs tasks. Run may be called again after it returned.
type Worker struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	// These fields limit the number of log lines during an outage of the database, and
	// after the database went back to an earlier state.
	outage, early, unknown *rate.Sometimes
	waiting                chan struct{} // a place for each task that waits for its turn
	outside                outside
	records                records
	spared                 spare.Tasks
	unhandled              tally
	taking                 atomic.Pointer[pipeline.Client] // nil: Run does not take tasks at present
}

// Hangs returns an error if the worker has had a free worker slot for two minutes, and in this time has not looked for
// a task or has got no answer. A worker that waits for Redis does not hang. Hangs is safe for concurrent use.
func (w *Worker) Hangs() error {
	if taking := w.taking.Load(); taking != nil {
		return taking.Hangs()
	}
	return nil
}

// Forget removes the time series of this worker alone: those of Options.Name and of its queues. Call it when Run has
// returned and the worker does not run again, while others go on in this process.
func (w *Worker) Forget() { w.metrics.forget(w.o.Name, w.o.Queues) }

// New returns a Worker. It does not connect.
func New(o Options) *Worker {
	sometimes := func() *rate.Sometimes { return &rate.Sometimes{Interval: 30 * time.Second} }
	return &Worker{
		o: o, log: o.Logger.With("component", "worker"), metrics: newMetrics(o.Registry),
		outage: sometimes(), early: sometimes(), unknown: sometimes(), waiting: make(chan struct{}, o.Concurrency/2),
	}
}

// Run processes tasks until ctx ends, then lets running tasks finish. If Redis cannot be reached, Run waits for it:
// an outage is no error. If Asynq's server does not stop, Run returns an error and leaves the server's goroutines and its
// Redis clients behind.
func (w *Worker) Run(ctx context.Context) error {
	client := w.o.Redis.NewWorkingClient(w.o.Concurrency + 4)
	heard := newComplaints(w.log)
	client.AddHook(heard)
	direct := w.o.Redis.NewDirectClient(directConnections)
	direct.AddHook(heard)
	stuck := false
	defer func() {
		if !stuck { // see pipeline.Client.End
			_, _ = client.Close(), direct.Close()
		}
	}()
	// Without Redis, Asynq's server would start and then log an error once a second. So wait for Redis first.
	if err := w.awaitRedis(ctx, client); err != nil {
		return nil
	}
	w.records.open()
	for queue := range w.o.Queues {
		w.metrics.blocked.WithLabelValues(queue).Set(0)
	}
	piped := pipeline.New(ctx, w.pipeline(client, direct))
	config := w.config()
	config.IsFailure = piped.IsFailure(config.IsFailure)
	server := asynq.NewServerFromRedisClient(piped, config)
	if err := server.Start(w.mux(ctx)); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	w.taking.Store(piped)
	defer w.taking.Store(nil)
	w.log.Info("the worker takes tasks", "queues", w.o.Queues, "concurrency", w.o.Concurrency, "task_types", w.types())
	var beside sync.WaitGroup
	beside.Go(func() { listen(ctx, piped.Bell(), client, w.log, heard) })
	// Asynq lists the workers of all programs, and does not say whose they are.
	beside.Go(func() { presence.Show(ctx, client, presence.Presence{Own: true, Version: w.o.Version}) })
	<-ctx.Done()
	if err := piped.End(server, w.o.Drain); err != nil {
		stuck = true
		return err
	}
	beside.Wait()
	w.records.wait()
	return nil
}

// directConnections is the size of a separate connection pool: one connection takes tasks, one writes the
// results of finished tasks, and one returns tasks to their queues.
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
		ErrorHandler:             asynq.ErrorHandlerFunc(w.handleError),
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
