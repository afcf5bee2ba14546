package bench

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/pflag"
)

// backlogFirst is how many events are drained at each size.
const backlogFirst = 50_000

// Backlog compares the drain rate at several sizes of backlog.
func Backlog() Bench {
	return Bench{
		Name:  "backlog",
		Short: "Whether a large backlog drains as fast as a small one",
		Long: `Measures the rate of the first 50,000 events drained from backlogs of several sizes.

The ratio "largest" is the rate at the largest size divided by the rate at the smallest.`,
		Prepare: func(flags *pflag.FlagSet) Run {
			b := &backlog{sizes: Counts{50_000, 500_000, 2_000_000}}
			b.add(flags)
			flags.Var(&b.sizes, "sizes", "backlogs to compare")
			return b.run
		},
	}
}

type backlog struct {
	drainFlags
	sizes Counts
}

func (b *backlog) run(ctx context.Context, e *Env) (*Report, error) {
	if err := b.apply(e); err != nil {
		return nil, err
	}
	report, err := e.NewReport(ctx, "backlog")
	if err != nil {
		return nil, err
	}
	sizes := slices.Sorted(slices.Values(b.sizes))
	first := min(backlogFirst, sizes[0])
	report.Environment["events_measured"], report.Environment["payload_bytes"] = fmt.Sprint(first), fmt.Sprint(b.payload)
	var arms []*contender
	for _, size := range sizes {
		arms = append(arms, &contender{
			name: fmt.Sprintf("%d pending", size),
			run:  func(ctx context.Context) (measurement, error) { return b.drainFirst(ctx, e, size, first) },
		})
	}
	if err := e.interleave(ctx, b.rounds, arms...); err != nil {
		return nil, err
	}
	for _, arm := range arms {
		report.Arms = append(report.Arms, arm.arm())
	}
	report.Ratios["largest"] = ratio(arms[len(arms)-1].rate(), arms[0].rate())
	return report, nil
}

func (b *backlog) drainFirst(ctx context.Context, e *Env, size, first int) (measurement, error) {
	if err := e.Load(ctx, size, b.payload); err != nil {
		return measurement{}, err
	}
	e.Progress.Start(fmt.Sprintf("%d pending", size), int64(first))
	defer e.Progress.Done()
	r := e.NewRelay(nil)
	record := newRecorder(first)
	stop := e.RunRelay(ctx, r)
	err := e.WaitDelivered(ctx, int64(first), record.reached)
	// The last look may have found some more than wanted, so not the end of
	// the wait counts but the moment that the marks say.
	took := record.finished()
	if stopped := stop(); err == nil {
		err = stopped
	}
	return measurement{rate: perSecond(first, took), curve: record.curve()}, err
}
