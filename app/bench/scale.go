package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"time"

	"github.com/spf13/pflag"
)

// Scale compares numbers of relay processes.
func Scale() Bench {
	return Bench{
		Name:  "scale",
		Short: "Whether several relay processes get in each other's way",
		Long: `Drains a backlog with several numbers of relay processes (not goroutines) on this machine, and counts
what was delivered more than once. The clock starts when the last process is there.

The ratio "largest" is the total rate of the most processes divided by that of the fewest.`,
		Prepare: func(flags *pflag.FlagSet) Run {
			s := &scale{relays: Counts{1, 2, 4}}
			s.add(flags)
			s.addEvents(flags, 200_000)
			flags.Var(&s.relays, "relays", "numbers of processes to compare")
			return s.run
		},
	}
}

type scale struct {
	drainFlags
	relays Counts
}

func (s *scale) run(ctx context.Context, e *Env) (*Report, error) {
	if err := s.apply(e); err != nil {
		return nil, err
	}
	if s.events < 1 {
		return nil, fmt.Errorf("--events has to be at least 1")
	}
	report, err := e.NewReport(ctx, "scale")
	if err != nil {
		return nil, err
	}
	report.Environment["events"], report.Environment["payload_bytes"] = fmt.Sprint(s.events), fmt.Sprint(s.payload)
	var arms []*contender
	for _, n := range slices.Sorted(slices.Values(s.relays)) {
		arms = append(arms, &contender{
			name: fmt.Sprintf("%d relays", n),
			run:  func(ctx context.Context) (measurement, error) { return s.drainBy(ctx, e, n) },
		})
	}
	if err := e.interleave(ctx, s.rounds, arms...); err != nil {
		return nil, err
	}
	for _, arm := range arms {
		report.Arms = append(report.Arms, arm.arm())
	}
	report.Ratios["largest"] = ratio(arms[len(arms)-1].rate(), arms[0].rate())
	return report, nil
}

// drainBy drains with n processes. What is delivered while they start counts
// only if nothing is left then.
func (s *scale) drainBy(ctx context.Context, e *Env, n int) (_ measurement, err error) {
	if err := e.Load(ctx, s.events, s.payload); err != nil {
		return measurement{}, err
	}
	e.Progress.Start(fmt.Sprintf("%d relays", n), int64(s.events))
	defer e.Progress.Done()
	fleet, err := e.launch(ctx, n)
	defer func() {
		if stopped := fleet.stop(); err == nil {
			err = stopped
		}
	}()
	if err != nil {
		return measurement{}, err
	}
	begun := time.Now()
	if err := e.awaitRelays(ctx, n, fleet); err != nil {
		return measurement{}, err
	}
	already, err := e.Delivered(ctx)
	if err != nil {
		return measurement{}, err
	}
	measured := s.events - int(already)
	if measured > 0 {
		begun = time.Now()
	} else {
		measured = s.events
	}
	if err := e.WaitDrained(ctx); err != nil {
		return measurement{}, err
	}
	took := time.Since(begun)
	// Processes that are still settling would be miscounted.
	if err := fleet.stop(); err != nil {
		return measurement{}, err
	}
	twice, err := e.deliveredTwice(ctx)
	if err != nil {
		return measurement{}, err
	}
	return measurement{rate: perSecond(measured, took), figures: map[string]float64{"delivered_twice": float64(twice)}}, e.checkMoved(ctx, s.events+int(twice))
}

// awaitRelays returns when n relays have shown themselves.
func (e *Env) awaitRelays(ctx context.Context, n int, f *fleet) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		var there int
		if err := e.Admin.QueryRow(ctx, "SELECT count(*) FROM outbox_relays").Scan(&there); err != nil {
			return fmt.Errorf("wait for the relays: %w", err)
		}
		if there >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %d relays, of which %d are there: %w", n, there, ctx.Err())
		case err := <-f.ended:
			f.running--
			return fmt.Errorf("a relay ended: %w", err)
		case <-look.C:
		}
	}
}

// deliveredTwice counts deliveries beyond the first of an event: tasks in
// Redis, and rows of the history.
func (e *Env) deliveredTwice(ctx context.Context) (int64, error) {
	const page = 10_000
	seen, tasks := map[string]struct{}{}, int64(0)
	for {
		ids, err := e.Redis.LRange(ctx, "asynq:{"+Queue+"}:pending", tasks, tasks+page-1).Result()
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

// fleet is a number of relay processes.
type fleet struct {
	cancel  context.CancelFunc
	ended   chan error // one for each process
	running int
}

// launch starts n relay processes. The fleet is never nil.
func (e *Env) launch(ctx context.Context, n int) (*fleet, error) {
	ctx, cancel := context.WithCancel(ctx)
	f := &fleet{cancel: cancel, ended: make(chan error, n)}
	for range n {
		cmd, err := e.Command(ctx, "--roles=relay", "--monitor-addr=")
		if err != nil {
			return f, err
		}
		said := &bytes.Buffer{}
		cmd.Stderr = said
		if err := cmd.Start(); err != nil {
			return f, fmt.Errorf("start a relay: %w", err)
		}
		f.running++
		go func() { f.ended <- outcome(ctx, cmd.Wait(), said) }()
	}
	return f, nil
}

// outcome is nil for a process that ended because it was asked to.
func outcome(ctx context.Context, err error, said *bytes.Buffer) error {
	var exit *exec.ExitError
	if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err()) || errors.As(err, &exit) && exit.ExitCode() == 0) {
		return nil
	}
	const end = 2000
	return fmt.Errorf("%w: %s", err, said.Bytes()[max(0, said.Len()-end):])
}

// stop asks all processes to drain and returns when they have ended. It may be
// called again.
func (f *fleet) stop() error {
	f.cancel()
	var errs []error
	for ; f.running > 0; f.running-- {
		errs = append(errs, <-f.ended)
	}
	return errors.Join(errs...)
}
