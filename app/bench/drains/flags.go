package drains

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
)

// Flags are common to the benchmarks that drain a backlog.
type Flags struct {
	Events  int // size of the backlog
	Payload int // bytes
	Rounds  int // how often each arm runs

	concurrency, batch int
}

// Add adds the flags to a command. events is the default of --events.
func (d *Flags) Add(flags *pflag.FlagSet, events int) {
	d.addCommon(flags)
	flags.IntVar(&d.Events, "events", events, "size of the backlog")
}

// addCommon adds all flags but --events.
func (d *Flags) addCommon(flags *pflag.FlagSet) {
	flags.IntVar(&d.Payload, "payload", 100, "bytes of payload in each event")
	flags.IntVar(&d.Rounds, "rounds", 3, "how often each arm runs; the report has the medians")
	flags.IntVar(&d.concurrency, "concurrency", 0, "pollers, instead of --relay-concurrency, for a try-out")
	flags.IntVar(&d.batch, "batch", 0, "events per claim, instead of --relay-batch-size, for a try-out")
}

// apply applies the settings of --concurrency and --batch.
func (d *Flags) apply(e *env.Env) error {
	if d.Rounds < 1 || d.Payload < 2 || d.concurrency < 0 || d.batch < 0 {
		return errors.New("--rounds has to be at least 1, --payload at least 2, and --concurrency and --batch at least 0")
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

// Begin applies the flags and begins the report.
func (d *Flags) Begin(ctx context.Context, e *env.Env, name string) (*result.Report, error) {
	if err := d.apply(e); err != nil {
		return nil, err
	}
	if d.Events < 1 {
		return nil, errors.New("--events has to be at least 1")
	}
	report, err := e.NewReport(ctx, name)
	if err != nil {
		return nil, err
	}
	report.Environment["events"], report.Environment["payload_bytes"] = fmt.Sprint(d.Events), fmt.Sprint(d.Payload)
	return report, nil
}

// arm returns an arm that loads the events before each drain.
func (d *Flags) arm(e *env.Env, name string, drain func(context.Context) (result.Measurement, error)) *result.Contender {
	return &result.Contender{Name: name, Run: func(ctx context.Context) (result.Measurement, error) {
		if err := e.Load(ctx, d.Events, d.Payload); err != nil {
			return result.Measurement{}, err
		}
		return drain(ctx)
	}}
}
