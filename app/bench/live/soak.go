package live

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/spec"
	"outboxd/app/bench/traffic"
	"outboxd/domain"
	"outboxd/jobs/work"
)

// Soak is the benchmark of a steady load over a long time.
func Soak() spec.Bench {
	return spec.Bench{
		Name:  "soak",
		Short: "A steady load for minutes, with an old snapshot held open in the middle",
		Long: `Producers commit events at a steady rate beside a relay process and a worker, from beginning to end, and a
snapshot such as a long report's is held open for the middle of that time. Reports the lag (from when an event was due
until it was in Redis and settled, by the relay's own histogram) before, with and after the snapshot, and the size of the
outbox, its dead rows, and the relay's memory and goroutines at the start, when the snapshot ends, and at the end.

Nothing may grow: what the snapshot keeps PostgreSQL from clearing away is cleared after it. At the end every event must
be in the history once, or the benchmark fails. So it refuses --relay-history=0.`,
		Prepare: func(flags *pflag.FlagSet) spec.Run {
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
	if e.Config.Relay.History <= 0 {
		return nil, errors.New("without a history nothing says at the end that every event was handed over: --relay-history has to be above 0")
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
// and after it is closed. With --hold=0 there is only the first.
func (s *soak) phases(ctx context.Context, e *env.Env, process *env.Process, report *result.Report) error {
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
	before, after := s.around()
	if err := phase("without a snapshot", before); err != nil || s.hold == 0 {
		return err
	}
	release, err := e.HoldSnapshot(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := phase("with an old snapshot", spec.Seconds(s.hold)); err != nil {
		return err
	}
	release()
	return phase("after it", after)
}

// around returns how long the phases before and after the snapshot last. Without a
// snapshot the first phase takes all the time.
func (s *soak) around() (before, after time.Duration) {
	if s.hold == 0 {
		return spec.Seconds(s.seconds), 0
	}
	half := spec.Seconds((s.seconds - s.hold) / 2)
	return half, half
}

// awaitRelayed waits until the outbox is empty, and fails unless each of the n events is
// in the history once. Their tasks may still wait in Redis, because the worker's speed is
// not measured here.
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
