package jobs

import (
	"context"
	"errors"
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
	"outboxd/domain"
	"outboxd/jobs/broker"
)

// forwardEvery is how often Asynq looks for tasks whose retry is due.
const forwardEvery = time.Second

// WorkerOptions are the dependencies and the tuning of a Worker. All are
// required, but for Failures, Tracer and what says so.
type WorkerOptions struct {
	Redis *broker.Redis
	Inbox domain.Inbox
	// Failures takes down what fails. Without it, tasks that are given up are
	// in Asynq's archive only.
	Failures domain.FailedTasks
	Handlers map[string]Handler // by task type
	Outward  map[string]Outward // by task type, of types without a Handler
	// Any carries out the tasks of all types that have neither, and Name is what
	// the metrics call those. Without it they stay in their queue.
	Any  Outward
	Name string
	// Gate holds the worker back from its queues. nil: nothing does.
	Gate        Gate
	Concurrency int            // tasks at once; at least 1
	Queues      map[string]int // queue to weight; at least one
	// PollInterval is how often an idle worker looks for tasks of which nobody
	// told it: repeats that are due, and what others than a Publisher enqueued.
	PollInterval time.Duration
	// Drain is how long running tasks may take to finish once the context of
	// Run has ended. What is left then goes back to the queue.
	Drain    time.Duration
	Logger   *slog.Logger
	Registry prometheus.Registerer
	// Tracer begins a span for each delivery. nil: none.
	Tracer trace.Tracer
}

// Gate is asked by one goroutine before each task that a worker takes.
type Gate interface {
	// Pause returns how long no task should be taken; 0: it may be now.
	Pause() time.Duration
	// Took notes that a task was taken.
	Took()
}

// Worker runs tasks. Run may be called again after it returned.
type Worker struct {
	o       WorkerOptions
	log     *slog.Logger
	metrics *workerMetrics
	// These keep the log short while the database is away, and after it went back.
	outage, early, unknown *rate.Sometimes
	waiting                chan struct{} // a place for each task that waits for its turn
	outside                outside
}

// NewWorker returns a Worker. It does not connect.
func NewWorker(o WorkerOptions) *Worker {
	sometimes := func() *rate.Sometimes { return &rate.Sometimes{Interval: 30 * time.Second} }
	return &Worker{
		o: o, log: o.Logger.With("component", "worker"), metrics: newWorkerMetrics(o.Registry),
		outage: sometimes(), early: sometimes(), unknown: sometimes(), waiting: make(chan struct{}, o.Concurrency/2),
	}
}

// Run processes tasks until ctx ends, then lets the running ones finish. A
// Redis that cannot be reached is waited for: an outage is no failure.
func (w *Worker) Run(ctx context.Context) error {
	client, err := w.o.Redis.NewWorkingClient(w.o.Concurrency + 4)
	if err != nil {
		return err
	}
	defer client.Close()
	heard := newComplaints(w.log)
	client.AddHook(heard)
	// A repeat would take a second task, and nobody would have the first.
	taking, err := w.o.Redis.NewTakingClient()
	if err != nil {
		return err
	}
	defer taking.Close()
	taking.AddHook(heard)
	// Asynq's server starts without Redis, and then complains once a second.
	if err := w.awaitRedis(ctx, client); err != nil {
		return nil
	}
	idle := &bell.Idle{Bell: bell.New(), Every: w.o.PollInterval, Queues: len(w.o.Queues)}
	for queue := range w.o.Queues {
		w.metrics.blocked.WithLabelValues(queue).Set(0)
	}
	server := asynq.NewServerFromRedisClient(&patient{
		UniversalClient: client, ctx: ctx, idle: idle, taker: newTaker(taking, w.types(), w.o.Any != nil, w.log, w.metrics.blocked), gate: w.o.Gate,
	}, w.config())
	if err := server.Start(w.mux(ctx)); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	w.log.Info("the worker takes tasks", "queues", w.o.Queues, "concurrency", w.o.Concurrency, "task_types", w.types())
	var beside sync.WaitGroup
	beside.Go(func() { listen(ctx, idle.Bell, client, w.log, heard) })
	<-ctx.Done()
	server.Shutdown()
	beside.Wait()
	return nil
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
	types := make([]string, 0, len(w.o.Handlers)+len(w.o.Outward))
	for name := range w.o.Handlers {
		types = append(types, name)
	}
	for name := range w.o.Outward {
		types = append(types, name)
	}
	slices.Sort(types)
	return types
}

// The bounds of the delay between two attempts.
const (
	retryBase  = 2 * time.Second
	retryLimit = 15 * time.Minute
	// unknownDelay is how long a task without a handler rests before some
	// worker, perhaps a newer one, gets to see it again.
	unknownDelay = time.Minute
)

// isBlameless tells of an error that costs a task none of its attempts.
func isBlameless(err error) bool {
	_, postponed := isPostponed(err)
	return postponed || errors.Is(err, broker.ErrNoHandler) || errors.Is(err, errStopping) || errors.Is(err, domain.ErrTooEarly)
}

// retryDelay doubles from retryBase, with jitter, unless the error names a time.
func retryDelay(retried int, err error, _ *asynq.Task) time.Duration {
	var named *domain.Error
	postponed, wait := isPostponed(err)
	switch {
	case wait:
		return postponed.Delay
	case errors.Is(err, broker.ErrNoHandler):
		return unknownDelay
	case errors.Is(err, errStopping):
		return retryBase
	case errors.Is(err, domain.ErrTooEarly):
		// Asynq counts in seconds. Not all at once.
		return time.Second + rand.N(2*time.Second)
	case errors.As(err, &named) && named.RetryAfter > 0:
		return named.RetryAfter
	}
	ceiling := retryLimit
	if retried < 9 {
		ceiling = min(retryBase<<retried, retryLimit)
	}
	return ceiling/2 + rand.N(ceiling/2)
}

// failed logs a failed attempt and takes it down. Asynq calls it for every error
// of a handler, and when the time of one is over.
func (w *Worker) failed(ctx context.Context, task *asynq.Task, err error) {
	w.note(ctx, task, err)
	id, _ := asynq.GetTaskID(ctx)
	retried, _ := asynq.GetRetryCount(ctx)
	limit, _ := asynq.GetMaxRetry(ctx)
	log := w.log.With("task_id", id, "task_type", task.Type(), "attempt", retried+1)
	_, postponed := isPostponed(err)
	switch {
	case postponed && retried < limit:
		log.Debug("a task goes back to the queue and keeps its attempts", "error", err)
	case errors.Is(err, errStopping):
		log.Info("a task goes back to the queue, because the worker stops while the database cannot be reached")
	case errors.Is(err, domain.ErrTooEarly):
		log.Debug("a task goes back until it is its turn")
	case errors.Is(err, broker.ErrNoHandler) && retried >= limit:
		// Asynq archives such a task whatever its error is.
		log.Error("no handler for this type of task and no attempt left; it is archived")
	case errors.Is(err, broker.ErrNoHandler):
		log.Warn("no handler for this type of task; it goes back to the queue, and no attempt is charged. Start a worker that has the handler, or do not serve this queue here",
			"again_in", unknownDelay)
	case errors.Is(err, asynq.SkipRetry), retried >= limit:
		log.Error("a task used up its attempts and is archived", "error", err)
	default:
		log.Warn("a task failed and is tried again", "attempts_left", limit-retried, "error", err)
	}
}
