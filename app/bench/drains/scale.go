package drains

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/spec"
	"outboxd/jobs/broker"
)

// Scale compares drains by different numbers of relay processes.
func Scale() spec.Bench {
	return spec.Bench{
		Name:  "scale",
		Short: "Whether several relay processes get in each other's way",
		Long: `Drains a backlog with several numbers of relay processes (not goroutines) on this machine, and counts
what was delivered more than once. The clock starts when the last process is there.

The ratio "largest" is the total rate of the most processes divided by that of the fewest.`,
		Prepare: func(flags *pflag.FlagSet) spec.Run {
			s := &scale{relays: spec.Counts{1, 2, 4}}
			s.Add(flags, 200_000)
			flags.Var(&s.relays, "relays", "numbers of processes to compare")
			return s.run
		},
	}
}

type scale struct {
	Flags
	relays spec.Counts
}

func (s *scale) run(ctx context.Context, e *env.Env) (*result.Report, error) {
	report, err := s.Begin(ctx, e, "scale")
	if err != nil {
		return nil, err
	}
	var arms []*result.Contender
	for _, n := range slices.Sorted(slices.Values(s.relays)) {
		arms = append(arms, s.arm(e, fmt.Sprintf("%d relays", n), func(ctx context.Context) (result.Measurement, error) { return s.drainBy(ctx, e, n) }))
	}
	if err := report.Compare(ctx, e.Reset, s.Rounds, arms...); err != nil {
		return nil, err
	}
	report.Ratio("largest", arms[len(arms)-1], arms[0])
	return report, nil
}

// drainBy drains with n processes. The rate leaves out the events that are
// delivered while the processes start. If all events are delivered while the
// processes start, the rate counts all.
func (s *scale) drainBy(ctx context.Context, e *env.Env, n int) (_ result.Measurement, err error) {
	e.Progress.Start(fmt.Sprintf("%d relays", n), int64(s.Events))
	defer e.Progress.Done()
	fleet, err := launch(ctx, e, n)
	defer func() {
		if stopped := fleet.stop(); err == nil {
			err = stopped
		}
	}()
	if err != nil {
		return result.Measurement{}, err
	}
	begun := time.Now()
	if err := fleet.await(ctx, e, n); err != nil {
		return result.Measurement{}, err
	}
	already, err := e.Delivered(ctx)
	if err != nil {
		return result.Measurement{}, err
	}
	measured := s.Events - int(already)
	if measured > 0 {
		begun = time.Now()
	} else {
		measured = s.Events
	}
	if err := e.WaitDrained(ctx); err != nil {
		return result.Measurement{}, err
	}
	took := time.Since(begun)
	// Stop the processes before counting, so that their last batches are committed.
	if err := fleet.stop(); err != nil {
		return result.Measurement{}, err
	}
	twice, err := deliveredTwice(ctx, e)
	if err != nil {
		return result.Measurement{}, err
	}
	return result.Measurement{Rate: result.PerSecond(measured, took), Figures: map[string]float64{"delivered_twice": float64(twice)}}, checkMoved(ctx, e, s.Events+int(twice))
}

// deliveredTwice returns the larger of two counts of repeated deliveries: of further tasks
// of an event in Redis, and of further rows of an event in the history.
func deliveredTwice(ctx context.Context, e *env.Env) (int64, error) {
	const page = 10_000
	seen, tasks := map[string]struct{}{}, int64(0)
	for {
		ids, err := e.Redis.LRange(ctx, broker.PendingKey(env.Queue), tasks, tasks+page-1).Result()
		if err != nil {
			return 0, fmt.Errorf("list the tasks in Redis: %w", err)
		}
		for _, id := range ids {
			seen[id] = struct{}{}
		}
		tasks += int64(len(ids))
		if len(ids) < page {
			break
		}
	}
	var again int64
	if err := e.Admin.QueryRow(ctx, "SELECT count(*) - count(DISTINCT id) FROM outbox_sent").Scan(&again); err != nil {
		return 0, fmt.Errorf("count the history: %w", err)
	}
	return max(again, tasks-int64(len(seen))), nil
}
