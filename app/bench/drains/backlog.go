package drains

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/spec"
)

// backlogFirst is the number of events whose rate is measured at each size. If the smallest size
// is below backlogFirst, the rate is measured over as many events as the smallest size has.
const backlogFirst = 50_000

// Backlog compares the drain rate at several sizes of backlog.
func Backlog() spec.Bench {
	return spec.Bench{
		Name:  "backlog",
		Short: "Whether a large backlog drains as fast as a small one",
		Long: `Measures the rate of the first 50,000 events drained from backlogs of several sizes.

The ratio "largest" is the rate at the largest size divided by the rate at the smallest.`,
		Prepare: func(flags *pflag.FlagSet) spec.Run {
			b := &backlog{sizes: spec.Counts{50_000, 500_000, 2_000_000}}
			b.addCommon(flags)
			flags.Var(&b.sizes, "sizes", "backlogs to compare")
			return b.run
		},
	}
}

type backlog struct {
	Flags
	sizes spec.Counts
}

func (b *backlog) run(ctx context.Context, e *env.Env) (*result.Report, error) {
	if err := b.apply(e); err != nil {
		return nil, err
	}
	report, err := e.NewReport(ctx, "backlog")
	if err != nil {
		return nil, err
	}
	sizes := slices.Sorted(slices.Values(b.sizes))
	first := min(backlogFirst, sizes[0])
	report.Environment["events_measured"], report.Environment["payload_bytes"] = fmt.Sprint(first), fmt.Sprint(b.Payload)
	var arms []*result.Contender
	for _, size := range sizes {
		arms = append(arms, &result.Contender{
			Name: fmt.Sprintf("%d pending", size),
			Run:  func(ctx context.Context) (result.Measurement, error) { return b.drainFirst(ctx, e, size, first) },
		})
	}
	if err := report.Compare(ctx, e.Reset, b.Rounds, arms...); err != nil {
		return nil, err
	}
	report.Ratio("largest", arms[len(arms)-1], arms[0])
	return report, nil
}

func (b *backlog) drainFirst(ctx context.Context, e *env.Env, size, first int) (result.Measurement, error) {
	if err := e.Load(ctx, size, b.Payload); err != nil {
		return result.Measurement{}, err
	}
	e.Progress.Start(fmt.Sprintf("%d pending", size), int64(first))
	defer e.Progress.Done()
	r := e.NewRelay(nil)
	record := result.NewRecorder(first)
	stop := e.RunRelay(ctx, r)
	err := e.WaitDelivered(ctx, int64(first), record.Reached)
	// The last poll of WaitDelivered may have counted more events than first. So the
	// duration comes from the recorded counts of events, and not from the moment at
	// which the poll ended.
	took := record.Finished()
	if stopped := stop(); err == nil {
		err = stopped
	}
	return result.Measurement{Rate: result.PerSecond(first, took), Curve: record.Curve()}, err
}
