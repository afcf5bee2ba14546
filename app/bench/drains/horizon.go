package drains

import (
	"context"

	"github.com/spf13/pflag"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/spec"
)

// Horizon compares draining with and without an old snapshot held open.
func Horizon() spec.Bench {
	return spec.Bench{
		Name:  "horizon",
		Short: "What an old snapshot, such as a long report's, does to the drain",
		Long: `A transaction that stays open keeps PostgreSQL from clearing away rows that were deleted after it began. A
claim that starts at the beginning of the index then steps over ever more of them. This drains a backlog
with and without such a transaction, by outboxd and by the bare loop of "bench drain". The bare loop claims as
the textbook does, without a cursor. It claims 500 events at once; with the textbook's ten it would take minutes.

The ratio "snapshot" is outboxd's rate with the snapshot divided by its rate without; "textbook_snapshot" is
the same ratio of the bare loop.`,
		Prepare: func(flags *pflag.FlagSet) spec.Run {
			d := &Flags{}
			d.Add(flags, 200_000)
			return d.horizon
		},
	}
}

func (d *Flags) horizon(ctx context.Context, e *env.Env) (*result.Report, error) {
	report, err := d.Begin(ctx, e, "horizon")
	if err != nil {
		return nil, err
	}
	byRelay := func(ctx context.Context) (result.Measurement, error) { return Relay(ctx, e, d.Events, nil) }
	byTextbook := func(ctx context.Context) (result.Measurement, error) { return drainBare(ctx, e, d.Events, false) }
	without, with := d.arm(e, "outboxd", byRelay), d.besideSnapshot(e, "outboxd, old snapshot", byRelay)
	textWithout, textWith := d.arm(e, "textbook claim", byTextbook), d.besideSnapshot(e, "textbook claim, old snapshot", byTextbook)
	if err := report.Compare(ctx, e.Reset, d.Rounds, without, with, textWithout, textWith); err != nil {
		return nil, err
	}
	report.Ratio("snapshot", with, without)
	report.Ratio("textbook_snapshot", textWith, textWithout)
	return report, nil
}

// besideSnapshot returns an arm like Flags.arm, but a snapshot from before the
// load stays open during the drain.
func (d *Flags) besideSnapshot(e *env.Env, name string, drain func(context.Context) (result.Measurement, error)) *result.Contender {
	loaded := d.arm(e, name, drain)
	return &result.Contender{Name: name, Run: func(ctx context.Context) (result.Measurement, error) {
		release, err := e.HoldSnapshot(ctx)
		if err != nil {
			return result.Measurement{}, err
		}
		defer release()
		return loaded.Run(ctx)
	}}
}
