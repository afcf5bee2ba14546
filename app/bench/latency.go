package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"outboxd/domain"
	"outboxd/jobs"
	"outboxd/jobs/broker"
	"outboxd/relay"
	"outboxd/repository"
)

// Latency is the benchmark of how soon a committed event reaches its handler.
func Latency() Bench {
	return Bench{
		Name:  "latency",
		Short: "From commit to Redis and to the handler's start, at a light rate and in a burst",
		Long: `Producers commit events, each in a transaction of its own and at random moments
(a Poisson process), beside a running relay and a running Asynq worker, as they
are configured. Measured from the moment at which COMMIT returned: until the
relay's batch with the event is in Redis, and until the handler begins, inbox row
included. Then the same for events that come all at once, in one transaction and
in one transaction each.

p50_ms and p99_ms are those from commit to the handler's start at the light rate.`,
		Prepare: func(flags *pflag.FlagSet) Run {
			rate := flags.Float64("rate", 100, "events per second")
			seconds := flags.Float64("seconds", 30, "seconds at that rate")
			burst := flags.Int("burst", 1000, "events of a burst; 0: none")
			return func(ctx context.Context, e *Env) (*Report, error) {
				if *rate <= 0 || *seconds <= 0 || *burst < 0 {
					return nil, errors.New("--rate and --seconds have to be above 0, and --burst not below")
				}
				return latency(ctx, e, *rate, time.Duration(*seconds*float64(time.Second)), *burst)
			}
		},
	}
}

// warmUp is how many events pass before any is measured: connections are made,
// statements prepared, pages read.
const warmUp = 100

func latency(ctx context.Context, e *Env, rate float64, length time.Duration, burst int) (_ *Report, err error) {
	report, err := e.NewReport(ctx, "latency")
	if err != nil {
		return nil, err
	}
	s := newStopwatch()
	stop := e.runLatency(ctx, s)
	defer func() { err = errors.Join(err, stop()) }()
	producers, err := newProducers(ctx, e, s)
	if err != nil {
		return nil, err
	}
	defer producers.close()

	if err := producers.steadily(ctx, max(rate, warmUp), warmUp); err != nil {
		return nil, err
	}
	if _, _, err := s.results(ctx); err != nil {
		return nil, err
	}
	report.Environment["relay_poll_interval"] = e.Config.Relay.PollInterval.String()
	report.Environment["worker_poll_interval"] = e.Config.Worker.PollInterval.String()
	report.Environment["worker_concurrency"] = fmt.Sprint(e.Config.Worker.Concurrency)
	report.Notes = []string{
		"An event counts as enqueued when its whole batch is, so that figure is an upper bound.",
	}
	arms := []struct {
		name    string
		events  int
		produce func(ctx context.Context, n int) error
	}{
		{fmt.Sprintf("%g events/s", rate), max(int(rate*length.Seconds()), 1), func(ctx context.Context, n int) error { return producers.steadily(ctx, rate, n) }},
		{fmt.Sprintf("burst of %d, one transaction", burst), burst, producers.together},
		{fmt.Sprintf("burst of %d, one transaction each", burst), burst, producers.atOnce},
	}
	for _, arm := range arms {
		if arm.events == 0 {
			continue
		}
		e.Progress.Start(arm.name, int64(arm.events))
		begun := time.Now()
		err := arm.produce(ctx, arm.events)
		var enqueued, started durations
		if err == nil {
			enqueued, started, err = s.results(ctx)
		}
		took := time.Since(begun)
		e.Progress.Done()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", arm.name, err)
		}
		figures := enqueued.figures("enqueued_")
		maps.Copy(figures, started.figures("handler_"))
		figures["events"] = float64(len(started))
		figures["seconds"] = took.Seconds()
		report.Arms = append(report.Arms, Arm{Name: arm.name, Figures: figures})
	}
	light := report.Arms[0].Figures
	p50, p99 := light["handler_p50_ms"], light["handler_p99_ms"]
	report.P50, report.P99 = &p50, &p99
	return report, nil
}

// latencyType is the task type of the events, which the benchmark's own worker
// handles.
const latencyType = "bench:latency"

// runLatency starts a relay and a worker that tell the stopwatch.
func (e *Env) runLatency(ctx context.Context, s *stopwatch) (stop func() error) {
	stopRelay := e.RunRelay(ctx, e.NewRelay(func(o *relay.Options) {
		o.Publisher = timedPublisher{o.Publisher, s}
	}))
	stopWorker := e.runWorker(ctx, func(_ context.Context, _ domain.Effects, task jobs.Task) error {
		s.started(task.EventID)
		return nil
	})
	return func() error { return errors.Join(stopWorker(), stopRelay()) }
}

// runWorker runs a worker as it is configured until stop is called, which waits
// for it.
func (e *Env) runWorker(ctx context.Context, handler jobs.Handler) (stop func() error) {
	queues := maps.Clone(map[string]int(e.Config.Worker.Queues))
	if queues[Queue] == 0 {
		queues = map[string]int{Queue: 1}
	}
	redis, err := broker.New(e.RedisOpt, 1)
	if err != nil {
		return func() error { return err }
	}
	worker := jobs.NewWorker(jobs.WorkerOptions{
		Redis:        redis,
		Inbox:        repository.NewInbox(e.DB),
		Handlers:     map[string]jobs.Handler{latencyType: handler},
		Concurrency:  e.Config.Worker.Concurrency,
		Queues:       queues,
		PollInterval: e.Config.Worker.PollInterval,
		Drain:        10 * time.Second,
		Logger:       e.Log,
		Registry:     prometheus.NewRegistry(),
	})
	working, cancel := context.WithCancel(ctx)
	result := make(chan error, 1)
	go func() { result <- worker.Run(working) }()
	return func() error {
		cancel()
		return errors.Join(<-result, redis.Close())
	}
}

// timedPublisher tells the stopwatch what has been enqueued.
type timedPublisher struct {
	domain.Publisher
	s *stopwatch
}

func (p timedPublisher) Publish(ctx context.Context, events []domain.Event) []domain.Receipt {
	receipts := p.Publisher.Publish(ctx, events)
	now := time.Now()
	for i := range receipts {
		if receipts[i].Received() {
			p.s.enqueued(events[i].ID, now)
		}
	}
	return receipts
}
