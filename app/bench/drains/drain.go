package drains

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/spec"
)

// Drain compares how fast outboxd, the usual textbook loop and a minimal loop (the
// floor) drain a backlog.
func Drain() spec.Bench {
	return spec.Bench{
		Name:  "drain",
		Short: "How fast a backlog is drained, against the textbook's loop and the floor",
		Long: `Drains a backlog with three arms:

  textbook  ten rows at a time, enqueued one by one, marked as processed, without a sleep; on a sample
  outboxd   as configured
  floor     a bare loop that does the same work without any care: one statement out of the outbox and
            into the history, one pipeline of scripts, one commit; 2 goroutines, batches of 1,000

The ratios "textbook" and "floor" are outboxd's rate divided by theirs.

With --subscriptions it drains without subscriptions, with one and with ten that match nothing, and with one that
matches every event. The ratios "one", "ten" and "all" are their rates, in events, divided by that without.`,
		Prepare: func(flags *pflag.FlagSet) spec.Run {
			d := &drain{}
			d.Add(flags, 200_000)
			flags.IntVar(&d.sample, "sample", 10_000, "size of the textbook loop's backlog")
			flags.BoolVar(&d.subscriptions, "subscriptions", false, "compare outboxd with and without subscriptions instead")
			return d.run
		},
	}
}

type drain struct {
	Flags
	sample        int
	subscriptions bool
}

func (d *drain) run(ctx context.Context, e *env.Env) (*result.Report, error) {
	report, err := d.Begin(ctx, e, "drain")
	if err != nil {
		return nil, err
	}
	if d.subscriptions {
		return d.runSubscribed(ctx, e, report)
	}
	sampled := min(d.sample, d.Events)
	if sampled < 1 {
		return nil, errors.New("--sample has to be at least 1")
	}
	slow := &result.Contender{Name: "textbook", Run: func(ctx context.Context) (result.Measurement, error) {
		return drainTextbook(ctx, e, sampled, d.Payload)
	}}
	own := d.arm(e, "outboxd", func(ctx context.Context) (result.Measurement, error) { return Relay(ctx, e, d.Events, nil) })
	floor := d.arm(e, "floor", func(ctx context.Context) (result.Measurement, error) { return drainBare(ctx, e, d.Events, true) })
	if err := report.Compare(ctx, e.Reset, d.Rounds, slow, own, floor); err != nil {
		return nil, err
	}
	report.Ratio("textbook", own, slow)
	report.Ratio("floor", own, floor)
	return report, nil
}
