package effects

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/config"
)

// enough is the share of the highest rate that a suggested number of tasks reaches.
const enough = 0.95

// kind is a kind of handlers, with the workers that are tried for it.
type kind struct {
	handlers config.Handlers
	name     string // of the kind, in the suggestion
	tries    []int  // tasks at once, ascending
	arm      func(n int) string
	worker   func(e *env.Env, n int) running
	arms     []*result.Contender
}

// suggest measures workers with several numbers of tasks at once, and adds to the report
// which options to set.
func (f *effects) suggest(ctx context.Context, e *env.Env) (*result.Report, error) {
	if f.rtt != 0 || len(f.only) > 0 {
		return nil, errors.New("--suggest has arms of its own, so leave out --only and --rtt; it measures with the servers' real distance")
	}
	report, _, err := f.open(ctx, e, "effects")
	if err != nil {
		return nil, err
	}
	delete(report.Environment, "worker_concurrency")
	delete(report.Environment, "batch_concurrency")
	room, err := freeConnections(ctx, e)
	if err != nil {
		return nil, err
	}
	own, batch := config.Handlers{Transactions: true}, config.Handlers{Batches: true}
	kinds := []*kind{
		{
			handlers: own, name: "a transaction for each event", tries: around(tasksHere(e, own), room), worker: oneByOne,
			arm: func(n int) string { return fmt.Sprintf("one by one, %d at once", n) },
		},
		{
			handlers: batch, name: "batches", tries: around(tasksHere(e, batch), maxTasks), worker: inBatches,
			arm: func(n int) string { return fmt.Sprintf("in batches, %d at once", n) },
		},
	}
	most := kinds[0].tries[len(kinds[0].tries)-1]
	wide, closeWide, err := e.WithPool(ctx, connectionsFor(e, own, most))
	if err != nil {
		return nil, err
	}
	defer closeWide()
	var all []*result.Contender
	for _, k := range kinds {
		for _, n := range k.tries {
			k.arms = append(k.arms, f.effectArm(wide, k.arm(n), f.Events, wide.Load, everyEffect, k.worker(wide, n)))
		}
		all = append(all, k.arms...)
	}
	if err := report.Compare(ctx, e.Reset, f.Rounds, all...); err != nil {
		return nil, err
	}
	for _, k := range kinds {
		report.Suggestions = append(report.Suggestions, k.suggestion(e))
	}
	report.Notes = append(report.Notes,
		"A machine that is busy with other work gives other numbers: measure while it is as busy as it will be.",
		"For handlers that send mails or requests, give --worker-concurrency as many tasks as the other server accepts at once from one client.")
	return report, nil
}

// maxTasks is the largest --worker-concurrency.
const maxTasks = 5000

// around returns numbers around n that suggest tries, none above most.
func around(n, most int) []int {
	var tries []int
	for _, try := range []int{n / 2, n, 2 * n, 4 * n} {
		try = max(min(try, most), 1)
		if len(tries) == 0 || try > tries[len(tries)-1] {
			tries = append(tries, try)
		}
	}
	return tries
}

// freeConnections returns how many more tasks with a connection each PostgreSQL has room
// for. Some connections are left for the relay and for the benchmark itself.
func freeConnections(ctx context.Context, e *env.Env) (int, error) {
	const sql = `
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
     - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')`
	const left = 16
	var n int
	if err := e.Admin.QueryRow(ctx, sql).Scan(&n); err != nil {
		return 0, fmt.Errorf("read how many connections PostgreSQL has room for: %w", err)
	}
	return max(n-left, 1), nil
}

// tasksHere returns how many tasks at once a process runs here if no option says it.
func tasksHere(e *env.Env, h config.Handlers) int {
	c := *e.Config
	c.Worker.Concurrency, c.Database.MaxConns, c.Roles = 0, 0, config.AllRoles()
	return c.SizesOn(runtime.GOMAXPROCS(0), h).Tasks
}

// connectionsFor returns the size of the pool of a process with the roles of this
// configuration and a worker with n tasks at once.
func connectionsFor(e *env.Env, h config.Handlers, n int) int {
	c := *e.Config
	c.Worker.Concurrency, c.Database.MaxConns = n, 0
	if !c.HasRole(config.RoleWorker) {
		c.Roles = append(slices.Clip(c.Roles), config.RoleWorker)
	}
	return c.SizesOn(runtime.GOMAXPROCS(0), h).Pool
}

// suggestion returns the smallest number of tasks that reaches the share enough of the
// highest rate.
func (k *kind) suggestion(e *env.Env) result.Suggestion {
	best := 0
	for i, arm := range k.arms {
		if arm.Rate() > k.arms[best].Rate() {
			best = i
		}
	}
	at := 0
	for k.arms[at].Rate() < enough*k.arms[best].Rate() {
		at++
	}
	s := result.Suggestion{
		Handlers: k.name, Tasks: k.tries[at], Connections: connectionsFor(e, k.handlers, k.tries[at]), Default: tasksHere(e, k.handlers),
		Flags: []string{fmt.Sprintf("--worker-concurrency=%d", k.tries[at])},
	}
	if conns := e.Config.Database.MaxConns; conns > 0 && conns < s.Connections {
		s.Flags = append(s.Flags, fmt.Sprintf("--database-max-conns=%d", s.Connections))
	}
	s.Reason = fmt.Sprintf("%d tasks at once reached %.0f %% of the highest rate, which was %.0f events/s with %d.",
		s.Tasks, 100*k.arms[at].Rate()/k.arms[best].Rate(), k.arms[best].Rate(), k.tries[best])
	if s.Tasks == s.Default {
		s.Reason += " The default, 0, runs as many here."
	} else {
		s.Reason += fmt.Sprintf(" The default, 0, runs %d here.", s.Default)
	}
	s.Reason += fmt.Sprintf(" The process then has up to %d database connections.", s.Connections)
	if k.handlers.Batches {
		s.Reason += fmt.Sprintf(" These batches had up to %d events, so set Batch.Max in the handler too.", s.Tasks)
	}
	return s
}
