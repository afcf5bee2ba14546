package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
)

// drainFlags are common to the benchmarks that drain a backlog.
type drainFlags struct {
	events, payload, rounds int
	concurrency, batch      int
}

func (d *drainFlags) add(flags *pflag.FlagSet) {
	flags.IntVar(&d.payload, "payload", 100, "bytes of payload in each event")
	flags.IntVar(&d.rounds, "rounds", 3, "how often each arm runs; the report has the medians")
	flags.IntVar(&d.concurrency, "concurrency", 0, "pollers, instead of --relay-concurrency, for a try-out")
	flags.IntVar(&d.batch, "batch", 0, "events per claim, instead of --relay-batch-size, for a try-out")
}

func (d *drainFlags) addEvents(flags *pflag.FlagSet, events int) {
	flags.IntVar(&d.events, "events", events, "size of the backlog")
}

// apply applies the settings of --concurrency and --batch.
func (d *drainFlags) apply(e *env.Env) error {
	if d.rounds < 1 || d.payload < 2 || d.concurrency < 0 || d.batch < 0 {
		return errors.New("--rounds has to be at least 1, --payload 2, and --concurrency and --batch positive")
	}
	if d.concurrency > env.Conns-8 {
		return fmt.Errorf("--concurrency is at most %d here", env.Conns-8)
	}
	if d.concurrency > 0 {
		e.Config.Relay.Concurrency = d.concurrency
	}
	if d.batch > 0 {
		e.Config.Relay.BatchSize = d.batch
	}
	return nil
}

// begin applies the flags and begins the report.
func (d *drainFlags) begin(ctx context.Context, e *env.Env, name string) (*result.Report, error) {
	if err := d.apply(e); err != nil {
		return nil, err
	}
	if d.events < 1 {
		return nil, errors.New("--events has to be at least 1")
	}
	report, err := e.NewReport(ctx, name)
	if err != nil {
		return nil, err
	}
	report.Environment["events"], report.Environment["payload_bytes"] = fmt.Sprint(d.events), fmt.Sprint(d.payload)
	return report, nil
}

// arm returns an arm that loads the events before each drain.
func (d *drainFlags) arm(e *env.Env, name string, drain func(context.Context) (result.Measurement, error)) *result.Contender {
	return &result.Contender{Name: name, Run: func(ctx context.Context) (result.Measurement, error) {
		if err := e.Load(ctx, d.events, d.payload); err != nil {
			return result.Measurement{}, err
		}
		return drain(ctx)
	}}
}
