package drains

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/spec"
)

// Network is the benchmark of a drain with a network delay to both servers.
func Network() spec.Bench {
	return spec.Bench{
		Name:  "network",
		Short: "How fast a backlog is drained when both servers are a round trip away",
		Long: `Drains a backlog through proxies in front of PostgreSQL and Redis that deliver
every chunk of bytes half a round trip later, in order, without limiting the
bandwidth: outboxd as configured and the floor, a bare loop that does the same
work (see bench drain). The round trips that a client really saw are in the
report's environment.

The ratio "floor" is outboxd's rate divided by the floor's.`,
		Prepare: func(flags *pflag.FlagSet) spec.Run {
			n := &network{}
			n.Add(flags, 50_000)
			flags.DurationVar(&n.rtt, "rtt", time.Millisecond, "round trip to either server")
			return n.run
		},
	}
}

type network struct {
	Flags
	rtt time.Duration
}

func (n *network) run(ctx context.Context, e *env.Env) (_ *result.Report, err error) {
	report, err := n.Begin(ctx, e, "network")
	if err != nil {
		return nil, err
	}
	if n.rtt < 0 {
		return nil, errors.New("--rtt has to be 0 at least")
	}
	far, closeFar, err := e.Away(ctx, n.rtt/2)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeFar()) }()
	report.Environment["rtt"] = n.rtt.String()
	if err := far.MeasureRoundTrips(ctx, report); err != nil {
		return nil, err
	}
	arm := func(name string, drain func(ctx context.Context) (result.Measurement, error)) *result.Contender {
		return n.arm(far, name, func(ctx context.Context) (result.Measurement, error) {
			measured, err := drain(ctx)
			measured.Curve = nil // a curve would show the batches and no trend
			return measured, err
		})
	}
	own := arm("outboxd", func(ctx context.Context) (result.Measurement, error) { return Relay(ctx, far, n.Events, nil) })
	floor := arm("floor", func(ctx context.Context) (result.Measurement, error) { return drainBare(ctx, far, n.Events, true) })
	if err := report.Compare(ctx, far.Reset, n.Rounds, own, floor); err != nil {
		return nil, err
	}
	report.Ratio("floor", own, floor)
	return report, nil
}
