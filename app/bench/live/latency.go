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
	"outboxd/relay"
)

// Latency is the benchmark of how soon a committed event reaches its handler and takes
// effect.
func Latency() spec.Bench {
	return spec.Bench{
		Name:  "latency",
		Short: "From commit to Redis, to the handler and to the effect's commit, at a light rate and in a burst",
		Long: `Producers commit events, each in a transaction of its own and at random moments
(a Poisson process), beside a running relay and a running Asynq worker, as they
are configured. Measured from the moment at which COMMIT returned: until the
relay's batch with the event is in Redis, until the handler begins, inbox row
included, and until the effect of the event is committed. Then the same for events
that come all at once, in one transaction and in one transaction each.

The handler of the first arms does nothing, so that the effect is the inbox row
alone. The other arms have handlers that write a row: "effects one by one" in a
transaction for each event, "effects together" in one for several events, "effects in
batches" in one for several events and with one statement.

p50_ms and p99_ms are those from commit to the handler's start at the light rate,
with the handler that does nothing.`,
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
	if _, err := e.Admin.Exec(ctx, effectsTableSQL); err != nil {
		return nil, fmt.Errorf("make the table of the effects: %w", err)
	}
	s := traffic.NewStopwatch()
	stopRelay := e.RunRelay(ctx, e.NewRelay(func(o *relay.Options) { o.Publisher = timedPublisher{o.Publisher, s} }))
	defer func() { err = errors.Join(err, stopRelay()) }()
	producers, err := traffic.NewProducers(ctx, e, s)
	if err != nil {
		return nil, err
	}
	defer producers.Close()
	report.Environment["relay_poll_interval"] = e.Config.Relay.PollInterval.String()
	report.Environment["worker_poll_interval"] = e.Config.Worker.PollInterval.String()
	report.Environment["worker_concurrency"] = fmt.Sprint(e.Tasks())
	report.Environment["batch_concurrency"] = fmt.Sprint(batchTasks(e))
	report.Notes = []string{
		"An event counts as enqueued when its whole batch is, so that figure is an upper bound.",
	}
	loads := []load{
		{fmt.Sprintf("%g events/s", rate), max(int(rate*length.Seconds()), 1), func(ctx context.Context, n int) error { return producers.Steadily(ctx, rate, n) }},
		{fmt.Sprintf("burst of %d, one transaction", burst), burst, producers.Together},
		{fmt.Sprintf("burst of %d, one transaction each", burst), burst, producers.AtOnce},
	}
	warm := func(ctx context.Context) error { return producers.Steadily(ctx, max(rate, warmUp), warmUp) }
	for _, w := range timedWorkers() {
		arms, err := w.measure(ctx, e, s, warm, loads)
		if err != nil {
			return nil, err
		}
		report.Arms = append(report.Arms, arms...)
	}
	light := report.Arms[0].Figures
	p50, p99 := light["handler_p50_ms"], light["handler_p99_ms"]
	report.P50, report.P99 = &p50, &p99
	return report, nil
}

// load is one way in which events come.
type load struct {
	name    string
	events  int
	produce func(ctx context.Context, n int) error
}

func (l *load) measure(ctx context.Context, e *env.Env, s *traffic.Stopwatch, name string) (none result.Arm, err error) {
	e.Progress.Start(name, int64(l.events))
	defer e.Progress.Done()
	begun := time.Now()
	if err := l.produce(ctx, l.events); err != nil {
		return none, err
	}
	passed, err := s.Results(ctx)
	if err != nil {
		return none, err
	}
	took := time.Since(begun)
	figures := passed.Enqueued.Figures("enqueued_")
	maps.Copy(figures, passed.Started.Figures("handler_"))
	maps.Copy(figures, passed.Effected.Figures("effect_"))
	figures["events"] = float64(len(passed.Effected))
	figures["seconds"] = took.Seconds()
	return result.Arm{Name: name, Figures: figures}, nil
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
