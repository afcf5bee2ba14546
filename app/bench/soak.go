package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/traffic"
	"outboxd/domain"
	"outboxd/jobs/work"
)

// Soak is the benchmark of a steady load over a long time.
func Soak() Bench {
	return Bench{
		Name:  "soak",
		Short: "A steady load for minutes, with an old snapshot held open in the middle",
		Long: `Producers commit events at a steady rate beside a relay process and a worker, from beginning to end, and a
snapshot such as a long report's is held open for the middle of that time. Reports the lag (from when an event was due
until it was in Redis and settled, by the relay's own histogram) before, with and after the snapshot, and the size of the
outbox, its dead rows, and the relay's memory and goroutines at the start, when the snapshot ends, and at the end.

Nothing may grow: what the snapshot keeps PostgreSQL from clearing away is cleared after it. At the end every event must
have been handed over once, or the benchmark fails.`,
		Prepare: func(flags *pflag.FlagSet) Run {
			s := &soak{}
			flags.Float64Var(&s.rate, "rate", 2000, "events per second")
			flags.IntVar(&s.each, "per-transaction", 10, "events that one transaction writes")
			flags.Float64Var(&s.seconds, "seconds", 600, "how long")
			flags.Float64Var(&s.hold, "hold", 300, "for how many of these seconds the snapshot is held; 0: not")
			return s.run
		},
	}
}

type soak struct {
	rate, seconds, hold float64
	each                int
}

func (s *soak) run(ctx context.Context, e *env.Env) (_ *result.Report, err error) {
	if s.rate <= 0 || s.each < 1 || s.seconds <= 0 || s.hold < 0 || s.hold >= s.seconds {
		return nil, errors.New("--rate, --per-transaction and --seconds have to be above 0, and --hold below --seconds")
	}
	report, err := e.NewReport(ctx, "soak")
	if err != nil {
		return nil, err
	}
	report.Environment["per_transaction"] = strconv.Itoa(s.each)
	process, err := e.StartProcess(ctx, e.DatabaseURL, "relay")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, process.Stop()) }()
	stopWorker := e.RunWorker(ctx, traffic.EventType, func(context.Context, domain.Effects, work.Task) error { return nil })
	defer func() { err = errors.Join(err, stopWorker()) }()
	producers, err := traffic.NewProducers(ctx, e, traffic.NewStopwatch())
	if err != nil {
		return nil, err
	}
	defer producers.Close()

	e.Progress.Start("soak", int64(s.seconds))
	defer e.Progress.Done()
	producing, stop := context.WithCancel(ctx)
	defer stop()
	type emitted struct {
		n   int
		err error
	}
	produced := make(chan emitted, 1)
	go func() {
		n, err := producers.InStep(producing, s.rate, s.each)
		produced <- emitted{n, err}
	}()
	if err := s.phases(ctx, e, process, report); err != nil {
		return nil, err
	}
	stop()
	all := <-produced
	if all.err != nil {
		return nil, all.err
	}
	return report, awaitRelayed(ctx, e, all.n)
}

// phases measures three phases: before an old snapshot is open, while it is open,
// and after it is closed.
func (s *soak) phases(ctx context.Context, e *env.Env, process *env.Process, report *result.Report) error {
	seconds := func(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
	start, err := readSoak(ctx, e, process)
	if err != nil {
		return err
	}
	report.Arms = append(report.Arms, start.arm("start"))
	phase := func(name string, length time.Duration) error {
		if err := process.Watch(ctx, length, e.Progress); err != nil {
			return err
		}
		end, err := readSoak(ctx, e, process)
		if err != nil {
			return err
		}
		report.Arms = append(report.Arms, start.lag(name, &end), end.arm("at the end of that"))
		start = end
		return nil
	}
	around := seconds((s.seconds - s.hold) / 2)
	if err := phase("without a snapshot", around); err != nil || s.hold == 0 {
		return err
	}
	release, err := holdSnapshot(ctx, e)
	if err != nil {
		return err
	}
	defer release()
	if err := phase("with an old snapshot", seconds(s.hold)); err != nil {
		return err
	}
	release()
	return phase("after it", around)
}

// soaked is one measurement of a soak.
type soaked struct {
	at      time.Time
	metrics map[string]float64
	figures map[string]float64
}

const soakSQL = `
SELECT pg_table_size(relid) / 1048576.0, pg_indexes_size(relid) / 1048576.0, n_dead_tup::float8
FROM pg_stat_user_tables WHERE relid = 'outbox'::regclass`

func readSoak(ctx context.Context, e *env.Env, process *env.Process) (soaked, error) {
	now := soaked{at: time.Now()}
	var table, indexes, dead float64
	if err := e.Admin.QueryRow(ctx, soakSQL).Scan(&table, &indexes, &dead); err != nil {
		return now, fmt.Errorf("measure the outbox: %w", err)
	}
	var err error
	if now.metrics, err = process.Metrics(ctx); err != nil {
		return now, err
	}
	now.figures = map[string]float64{
		"outbox_mib": table, "indexes_mib": indexes, "dead_rows": dead,
		"resident_mib": now.metrics["process_resident_memory_bytes"] / (1 << 20),
		"goroutines":   now.metrics["go_goroutines"],
	}
	return now, nil
}

func (s *soaked) arm(name string) result.Arm { return result.Arm{Name: name, Figures: s.figures} }

// lag returns quantiles of the relay's lag: of the events that were relayed
// between two measurements.
func (s *soaked) lag(name string, end *soaked) result.Arm {
	const histogram = "outboxd_relay_lag_seconds"
	var buckets []bucket
	for name, value := range end.metrics {
		text, found := strings.CutPrefix(name, histogram+`_bucket{le="`)
		if le, err := strconv.ParseFloat(strings.TrimSuffix(text, `"}`), 64); found && err == nil {
			buckets = append(buckets, bucket{le, value - s.metrics[name]})
		}
	}
	slices.SortFunc(buckets, func(a, b bucket) int { return cmp.Compare(a.le, b.le) })
	events := end.metrics[histogram+"_count"] - s.metrics[histogram+"_count"]
	return result.Arm{Name: name, EventsPerSecond: events / end.at.Sub(s.at).Seconds(), Figures: map[string]float64{
		"events": events, "lag_p50_ms": quantile(buckets, .5) * 1000, "lag_p99_ms": quantile(buckets, .99) * 1000,
	}}
}

// bucket is a bucket of a Prometheus histogram: count values were less than or
// equal to le.
type bucket struct{ le, count float64 }

// quantile estimates a quantile as Prometheus does: it assumes that values are
// spread evenly within a bucket. For a value in the last bucket, which has no
// upper bound, quantile returns the bucket's lower bound.
func quantile(buckets []bucket, q float64) float64 {
	if len(buckets) == 0 {
		return 0
	}
	rank := q * buckets[len(buckets)-1].count
	var below bucket
	for _, b := range buckets {
		if b.count >= rank && b.count > below.count {
			if math.IsInf(b.le, 1) {
				return below.le
			}
			return below.le + (b.le-below.le)*(rank-below.count)/(b.count-below.count)
		}
		below = b
	}
	return 0
}

// awaitRelayed returns when all n events are in Redis. The tasks of these events
// may still wait in Redis, because the worker's speed is not measured here.
func awaitRelayed(ctx context.Context, e *env.Env, n int) error {
	limited, cancel := context.WithTimeout(ctx, traffic.PassageLimit)
	defer cancel()
	err := env.Poll(limited, 100*time.Millisecond, func() (bool, error) { return e.Drained(limited) })
	switch {
	case limited.Err() != nil && ctx.Err() == nil:
		return fmt.Errorf("%v after the last one was emitted, events are still in the outbox", traffic.PassageLimit)
	case err != nil:
		return err
	}
	return checkRelayed(ctx, e, n)
}

func checkRelayed(ctx context.Context, e *env.Env, n int) error {
	var rows, events int
	if err := e.Admin.QueryRow(ctx, "SELECT count(*), count(DISTINCT id) FROM outbox_sent").Scan(&rows, &events); err != nil {
		return fmt.Errorf("count the history: %w", err)
	}
	if rows != n || events != n {
		return fmt.Errorf("of %d events %d are in the history, in %d rows", n, events, rows)
	}
	return nil
}
