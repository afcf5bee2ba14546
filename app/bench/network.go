package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"outboxd/app/bench/distance"
	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
)

// Network is the benchmark of a drain with a network delay to both servers.
func Network() Bench {
	return Bench{
		Name:  "network",
		Short: "How fast a backlog is drained when both servers are a round trip away",
		Long: `Drains a backlog through proxies in front of PostgreSQL and Redis that deliver
every chunk of bytes half a round trip later, in order, without limiting the
bandwidth: outboxd as configured and the floor, a bare loop that does the same
work (see bench drain). The round trips that a client really saw are in the
report's environment.

The ratio "floor" is outboxd's rate divided by the floor's.`,
		Prepare: func(flags *pflag.FlagSet) Run {
			n := &network{}
			n.add(flags)
			n.addEvents(flags, 50_000)
			flags.DurationVar(&n.rtt, "rtt", time.Millisecond, "round trip to either server")
			return n.run
		},
	}
}

type network struct {
	drainFlags
	rtt time.Duration
}

func (n *network) run(ctx context.Context, e *env.Env) (_ *result.Report, err error) {
	report, err := n.begin(ctx, e, "network")
	if err != nil {
		return nil, err
	}
	if n.rtt < 0 {
		return nil, errors.New("--rtt has to be 0 at least")
	}
	far, closeFar, err := farAway(ctx, e, n.rtt/2)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeFar()) }()
	report.Environment["rtt"] = n.rtt.String()
	if err := measureDistance(ctx, far, report); err != nil {
		return nil, err
	}
	arm := func(name string, drain func(ctx context.Context) (result.Measurement, error)) *result.Contender {
		return n.arm(far, name, func(ctx context.Context) (result.Measurement, error) {
			measured, err := drain(ctx)
			measured.Curve = nil // a curve would show the batches and no trend
			return measured, err
		})
	}
	own := arm("outboxd", func(ctx context.Context) (result.Measurement, error) { return drainRelay(ctx, far, n.events, nil) })
	floor := arm("floor", func(ctx context.Context) (result.Measurement, error) { return drainBare(ctx, far, n.events, true) })
	if err := report.Compare(ctx, far.Reset, n.rounds, own, floor); err != nil {
		return nil, err
	}
	report.Ratio("floor", own, floor)
	return report, nil
}

// farAway returns the same environment with a network delay to both servers.
func farAway(ctx context.Context, e *env.Env, oneWay time.Duration) (_ *env.Env, closeAll func() error, err error) {
	database, databaseURL, err := distance.Postgres(ctx, e.Admin, oneWay, nil)
	if err != nil {
		return nil, nil, err
	}
	queue, redisURL, opt, err := distance.Redis(e.RedisOpt, oneWay)
	if err != nil {
		return nil, nil, errors.Join(err, database.Close())
	}
	far, closeFar, err := e.Through(ctx, databaseURL, redisURL, opt)
	if err != nil {
		return nil, nil, errors.Join(err, queue.Close(), database.Close())
	}
	return far, func() error {
		closeFar()
		return errors.Join(queue.Close(), database.Close())
	}, nil
}

// measureDistance adds the round-trip times that a client measures to the report.
func measureDistance(ctx context.Context, e *env.Env, report *result.Report) error {
	client, err := e.NewRedisClient()
	if err != nil {
		return err
	}
	defer client.Close()
	for name, ping := range map[string]func() error{
		"rtt_redis":      func() error { return client.Ping(ctx).Err() },
		"rtt_postgresql": func() error { return e.Admin.Ping(ctx) },
	} {
		took := make([]float64, 0, 21)
		for range cap(took) {
			begun := time.Now()
			if err := ping(); err != nil {
				return fmt.Errorf("measure the round trip: %w", err)
			}
			took = append(took, time.Since(begun).Seconds())
		}
		report.Environment[name] = time.Duration(result.Median(took) * float64(time.Second)).Round(time.Microsecond).String()
	}
	return nil
}
