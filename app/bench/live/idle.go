package live

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"

	"outboxd/app/bench/distance"
	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/spec"
)

// Idle is the benchmark of what outboxd costs while nothing happens.
func Idle() spec.Bench {
	return spec.Bench{
		Name:  "idle",
		Short: "What a whole process costs while there is nothing to do",
		Long: `Starts outboxd with all roles on an empty outbox, waits until it has settled, and
counts: transactions and statements on its connections to PostgreSQL, commands
that Redis carried out, processor time and memory of the process.

transactions_per_second is counted on the process's own connections, so that
nobody else's are in it. Redis counts for the whole server, and counts what a
script calls as well: a Redis that others use at the same time shows too much.`,
		Prepare: func(flags *pflag.FlagSet) spec.Run {
			seconds := flags.Float64("seconds", 30, "how long to watch")
			settle := flags.Duration("settle", 20*time.Second, "how long to wait before: the sleeps of an idle relay grow slowly")
			return func(ctx context.Context, e *env.Env) (*result.Report, error) {
				if *seconds <= 0 || *settle < 0 {
					return nil, errors.New("--seconds has to be above 0, and --settle not below")
				}
				return idle(ctx, e, spec.Seconds(*seconds), *settle)
			}
		},
	}
}

func idle(ctx context.Context, e *env.Env, length, settle time.Duration) (_ *result.Report, err error) {
	report, err := e.NewReport(ctx, "idle")
	if err != nil {
		return nil, err
	}
	report.Environment["relay_poll_interval"] = e.Config.Relay.PollInterval.String()
	report.Environment["worker_poll_interval"] = e.Config.Worker.PollInterval.String()
	report.Environment["worker_queues"] = e.Config.Worker.Queues.String()
	address, said, done, err := readAlong(ctx, e)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	if err := e.MakeExample(ctx); err != nil {
		return nil, err
	}
	process, err := e.StartProcess(ctx, address, "all")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, process.Stop()) }()

	e.Progress.Start("idle", int64((settle + length).Seconds()))
	defer e.Progress.Done()
	if err := process.Watch(ctx, settle, e.Progress); err != nil {
		return nil, err
	}
	before, err := readCosts(ctx, e, process, said)
	if err != nil {
		return nil, err
	}
	if err := process.Watch(ctx, length, e.Progress); err != nil {
		return nil, err
	}
	after, err := readCosts(ctx, e, process, said)
	if err != nil {
		return nil, err
	}
	addCosts(report, before, after)
	return report, nil
}

// readAlong puts a proxy in front of PostgreSQL that adds no delay and counts
// statements. A proxy cannot read encrypted connections. If connections are encrypted,
// readAlong starts no proxy and returns no Statements.
func readAlong(ctx context.Context, e *env.Env) (address string, said *distance.Statements, done func() error, err error) {
	_, encrypted, err := distance.Server(ctx, e.Admin)
	if err != nil {
		return "", nil, nil, err
	}
	if encrypted {
		return e.DatabaseURL, nil, func() error { return nil }, nil
	}
	said = distance.NewStatements()
	proxy, address, err := distance.Postgres(ctx, e.Admin, 0, said.Observe)
	if err != nil {
		return "", nil, nil, err
	}
	return address, said, proxy.Close, nil
}
