package effects

import (
	"context"
	"fmt"

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
	for _, flag := range []string{"at-once", "batch-at-once", "key-events", "only", "rtt"} {
		if f.given(flag) {
			return nil, fmt.Errorf("--suggest has arms of its own, at the servers' real distance: leave out --%s", flag)
		}
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
	set := e.Config.Worker.Concurrency
	kinds := []*kind{
		{
			handlers: own, name: "a transaction for each event", tries: around(withTasks(e, own, set).Sizes().Tasks, min(room, config.MaxTasks)), worker: oneByOne,
			arm: func(n int) string { return fmt.Sprintf("one by one, %d at once", n) },
		},
		{
			handlers: batch, name: "batches", tries: around(withTasks(e, batch, set).Sizes().Tasks, config.MaxTasks), worker: inBatches,
			arm: func(n int) string { return fmt.Sprintf("in batches, %d at once", n) },
		},
	}
	most := kinds[0].tries[len(kinds[0].tries)-1]
	wide, closeWide, err := e.WithPool(ctx, withTasks(e, own, most).PoolSize())
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

// around returns the numbers of tasks to try: n/2, n, 2n and 4n, raised to 1 or lowered to the
// given limit where necessary, and none twice.
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

// freeConnections returns how many connections PostgreSQL has left for tasks, and at
// least 1. It leaves 16 more connections for the relay and for the benchmark itself.
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

// withTasks returns the configuration of a process with a worker of n tasks at once, whose
// pool has the size that follows from n. n may be 0, the default.
func withTasks(e *env.Env, h config.Handlers, n int) *config.Config {
	c := e.Process(h)
	c.Worker.Concurrency, c.Database.MaxConns = n, 0
	return c
}

// suggestion suggests the smallest number of tasks whose rate is at least 95 % (the
// constant enough) of the highest rate.
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
	process := withTasks(e, k.handlers, k.tries[at])
	s := result.Suggestion{
		Handlers: k.name, Tasks: k.tries[at], Connections: process.PoolSize(), Default: withTasks(e, k.handlers, 0).Sizes().Tasks,
		Flags: []string{fmt.Sprintf("--worker-concurrency=%d", k.tries[at])},
	}
	// Suggest 0, with which the pool's size follows from the number of tasks.
	conns := e.Config.Database.MaxConns
	tooFew := conns > 0 && conns < process.MinConns()
	if tooFew {
		s.Flags = append(s.Flags, "--database-max-conns=0")
	}
	s.Reason = fmt.Sprintf("%d tasks at once reached %.0f %% of the highest rate, which was %.0f events/s with %d.",
		s.Tasks, 100*k.arms[at].Rate()/k.arms[best].Rate(), k.arms[best].Rate(), k.tries[best])
	if s.Tasks == s.Default {
		s.Reason += " The default, 0, runs as many here."
	} else {
		s.Reason += fmt.Sprintf(" The default, 0, runs %d here.", s.Default)
	}
	s.Reason += fmt.Sprintf(" The pool of a process with all roles then has up to %d connections.", s.Connections)
	if tooFew {
		s.Reason += fmt.Sprintf(" --database-max-conns=%d is too few for so many tasks; with 0 the size of the pool follows from them.", conns)
	}
	if k.handlers.Batches {
		s.Reason += fmt.Sprintf(" These batches had up to %d events, so set Batch.Max in the handler too.", s.Tasks)
	}
	return s
}
