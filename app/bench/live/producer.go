package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/pflag"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/spec"
	"outboxd/app/bench/traffic"
)

// Producer is the benchmark of how much the outbox's trigger slows its producers
// down.
func Producer() spec.Bench {
	return spec.Bench{
		Name:  "producer",
		Short: "Insert transactions per second, without and with the trigger that wakes a relay",
		Long: `Clients insert one event per transaction, as fast as they can, with prepared
statements and nothing else to do. No relay works; what producers see of one is
set by hand. The arms take turns, several times over, each on an empty table:

  no trigger     an outbox that wakes nobody
  awake          outboxd's trigger, and a relay that is at work
  asleep         outboxd's trigger, a relay that sleeps all the time, and a
                 listener. The worst case: a real one would have got up at once
  always notify  a trigger with a NOTIFY in every transaction, and a listener

The ratios are rates against "no trigger", with the largest number of clients.`,
		Prepare: func(flags *pflag.FlagSet) spec.Run {
			clients := spec.Counts{1, 32}
			flags.Var(&clients, "clients", "numbers of clients to measure")
			seconds := flags.Float64("seconds", 10, "seconds for each arm and number of clients, in all rounds together")
			rounds := flags.Int("rounds", 5, "rounds, among which the seconds are divided")
			return func(ctx context.Context, e *env.Env) (*result.Report, error) {
				if *seconds <= 0 || *rounds < 1 || len(clients) == 0 {
					return nil, errors.New("--seconds, --rounds and --clients have to be above 0")
				}
				turn := spec.Seconds(*seconds / float64(*rounds))
				return producer(ctx, e, clients, turn, *rounds)
			}
		},
	}
}

func producer(ctx context.Context, e *env.Env, clients []int, turn time.Duration, rounds int) (_ *result.Report, err error) {
	report, err := e.NewReport(ctx, "producer")
	if err != nil {
		return nil, err
	}
	for _, sql := range alwaysSQL {
		if _, err := e.Admin.Exec(ctx, sql); err != nil {
			return nil, fmt.Errorf("prepare the arms: %w", err)
		}
	}
	deaf, err := listen(ctx, e)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, deaf()) }()
	crowd, err := traffic.NewCrowd(ctx, e.DatabaseURL, slices.Max(clients))
	if err != nil {
		return nil, err
	}
	defer crowd.Close()

	arms := ProducerArms()
	rates := make([][][]float64, len(clients)) // by number of clients, arm and round
	for i := range rates {
		rates[i] = make([][]float64, len(arms))
	}
	e.Progress.Start("producer", int64(rounds*len(clients)*len(arms)))
	defer e.Progress.Done()
	for round := range rounds {
		for i, n := range clients {
			for j := range arms {
				// Rotate the order of the arms, so that no arm is always the first or
				// always the last.
				k := (j + round) % len(arms)
				if err := arms[k].Take(ctx, e); err != nil {
					return nil, err
				}
				rate, err := crowd.Insert(ctx, n, turn)
				if err != nil {
					return nil, fmt.Errorf("%s, %d clients: %w", arms[k].Name, n, err)
				}
				rates[i][k] = append(rates[i][k], rate)
				e.Progress.Add(1)
			}
		}
	}
	addRates(report, clients, rates)
	return report, nil
}

// addRates fills in the report.
func addRates(r *result.Report, clients []int, rates [][][]float64) {
	r.Notes = append(r.Notes, "The rates are of committed transactions. Clients beside the database share its processors.")
	most := slices.Index(clients, slices.Max(clients))
	for i, n := range clients {
		for j, arm := range ProducerArms() {
			median := result.Median(rates[i][j])
			r.Arms = append(r.Arms, result.Arm{
				Name: fmt.Sprintf("%s, clients=%d", arm.Name, n), EventsPerSecond: median, Rounds: rates[i][j],
				Figures: map[string]float64{"against_no_trigger": relative(rates[i][j], rates[i][0])},
			})
			if i == most && arm.ratio != "" {
				r.Ratios[arm.ratio] = relative(rates[i][j], rates[i][0])
			}
		}
	}
}

// relative returns the median of the rounds' ratios: within a round the
// machine's load is about the same.
func relative(rates, base []float64) float64 {
	ratios := make([]float64, 0, len(rates))
	for i := range rates {
		if base[i] > 0 {
			ratios = append(ratios, rates[i]/base[i])
		}
	}
	return result.Median(ratios)
}

// listen receives the triggers' notifications, as a relay would, until stop is
// called.
func listen(ctx context.Context, e *env.Env) (stop func() error, err error) {
	conn, err := pgx.Connect(ctx, e.DatabaseURL)
	if err != nil {
		return nil, fmt.Errorf("connect to listen: %w", err)
	}
	if _, err := conn.Exec(ctx, "LISTEN outbox_wake"); err != nil {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), conn.Close(ctx))
	}
	listening, cancel := context.WithCancel(ctx)
	result := make(chan error, 1)
	go func() {
		for {
			if _, err := conn.WaitForNotification(listening); err != nil {
				if listening.Err() != nil {
					err = nil
				}
				result <- err
				return
			}
		}
	}()
	return func() error {
		cancel()
		err := <-result
		// The cancelled wait may leave the connection open. ctx may have ended too, and
		// Close must still say goodbye to the server.
		_ = conn.Close(context.WithoutCancel(ctx))
		return err
	}, nil
}
