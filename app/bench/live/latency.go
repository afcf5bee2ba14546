package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/spf13/pflag"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/spec"
	"outboxd/app/bench/traffic"
	"outboxd/domain"
	"outboxd/jobs/work"
	"outboxd/relay"
)

// Latency is the benchmark of how soon a committed event reaches its handler.
func Latency() spec.Bench {
	return spec.Bench{
		Name:  "latency",
		Short: "From commit to Redis and to the handler's start, at a light rate and in a burst",
		Long: `Producers commit events, each in a transaction of its own and at random moments
(a Poisson process), beside a running relay and a running Asynq worker, as they
are configured. Measured from the moment at which COMMIT returned: until the
relay's batch with the event is in Redis, and until the handler begins, inbox row
included. Then the same for events that come all at once, in one transaction and
in one transaction each.

p50_ms and p99_ms are those from commit to the handler's start at the light rate.`,
		Prepare: func(flags *pflag.FlagSet) spec.Run {
			rate := flags.Float64("rate", 100, "events per second")
			seconds := flags.Float64("seconds", 30, "seconds at that rate")
			burst := flags.Int("burst", 1000, "events of a burst; 0: none")
			return func(ctx context.Context, e *env.Env) (*result.Report, error) {
				if *rate <= 0 || *seconds <= 0 || *burst < 0 {
					return nil, errors.New("--rate and --seconds have to be above 0, and --burst not below")
				}
				return latency(ctx, e, *rate, spec.Seconds(*seconds), *burst)
			}
		},
	}
}

// warmUp is how many events are sent before the measurement, so that connections
// are open, statements are prepared and pages are cached.
const warmUp = 100

func latency(ctx context.Context, e *env.Env, rate float64, length time.Duration, burst int) (_ *result.Report, err error) {
	report, err := e.NewReport(ctx, "latency")
	if err != nil {
		return nil, err
	}
	s := traffic.NewStopwatch()
	stop := runLatency(ctx, e, s)
	defer func() { err = errors.Join(err, stop()) }()
	producers, err := traffic.NewProducers(ctx, e, s)
	if err != nil {
		return nil, err
	}
	defer producers.Close()

	if err := producers.Steadily(ctx, max(rate, warmUp), warmUp); err != nil {
		return nil, err
	}
	if _, _, err := s.Results(ctx); err != nil {
		return nil, err
	}
	report.Environment["relay_poll_interval"] = e.Config.Relay.PollInterval.String()
	report.Environment["worker_poll_interval"] = e.Config.Worker.PollInterval.String()
	report.Environment["worker_concurrency"] = fmt.Sprint(e.Tasks())
	report.Notes = []string{
		"An event counts as enqueued when its whole batch is, so that figure is an upper bound.",
	}
	arms := []latencyArm{
		{fmt.Sprintf("%g events/s", rate), max(int(rate*length.Seconds()), 1), func(ctx context.Context, n int) error { return producers.Steadily(ctx, rate, n) }},
		{fmt.Sprintf("burst of %d, one transaction", burst), burst, producers.Together},
		{fmt.Sprintf("burst of %d, one transaction each", burst), burst, producers.AtOnce},
	}
	for _, arm := range arms {
		if arm.events == 0 {
			continue
		}
		measured, err := arm.measure(ctx, e, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", arm.name, err)
		}
		report.Arms = append(report.Arms, measured)
	}
	light := report.Arms[0].Figures
	p50, p99 := light["handler_p50_ms"], light["handler_p99_ms"]
	report.P50, report.P99 = &p50, &p99
	return report, nil
}

// latencyArm is one way in which events come.
type latencyArm struct {
	name    string
	events  int
	produce func(ctx context.Context, n int) error
}

func (a *latencyArm) measure(ctx context.Context, e *env.Env, s *traffic.Stopwatch) (none result.Arm, err error) {
	e.Progress.Start(a.name, int64(a.events))
	defer e.Progress.Done()
	begun := time.Now()
	if err := a.produce(ctx, a.events); err != nil {
		return none, err
	}
	enqueued, started, err := s.Results(ctx)
	if err != nil {
		return none, err
	}
	took := time.Since(begun)
	figures := enqueued.Figures("enqueued_")
	maps.Copy(figures, started.Figures("handler_"))
	figures["events"] = float64(len(started))
	figures["seconds"] = took.Seconds()
	return result.Arm{Name: a.name, Figures: figures}, nil
}

// runLatency starts a relay and a worker that report each event's progress to the
// stopwatch.
func runLatency(ctx context.Context, e *env.Env, s *traffic.Stopwatch) (stop func() error) {
	stopRelay := e.RunRelay(ctx, e.NewRelay(func(o *relay.Options) {
		o.Publisher = timedPublisher{o.Publisher, s}
	}))
	stopWorker := e.RunWorker(ctx, traffic.EventType, func(_ context.Context, _ domain.Effects, task work.Task) error {
		s.Started(task.EventID)
		return nil
	})
	return func() error { return errors.Join(stopWorker(), stopRelay()) }
}

// timedPublisher reports enqueued events to the stopwatch.
type timedPublisher struct {
	domain.Publisher
	s *traffic.Stopwatch
}

func (p timedPublisher) Publish(ctx context.Context, events []domain.Event) []domain.Receipt {
	receipts := p.Publisher.Publish(ctx, events)
	now := time.Now()
	for i := range receipts {
		if receipts[i].Received() {
			p.s.Enqueued(events[i].ID, now)
		}
	}
	return receipts
}
