package bench_test

import (
	"testing"

	"outboxd/app/bench/costing"
	"outboxd/app/bench/plan"
	"outboxd/app/servertest/postgrestest"
	"outboxd/app/servertest/redistest"
)

// TestCosts measures all costs, on servers of its own: WAL and traffic are those of a whole server.
func TestCosts(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.DatabaseURL, o.RedisURL, o.RedisDB = postgrestest.Start(t).URL(), redistest.Start(t).URL(), 0
	measured, notes, err := costing.Measure(t.Context(), newEnvOn(t, o), 100, 400)
	if err != nil {
		t.Fatal(err)
	}
	if err := measured.Lines.Check(); err != nil {
		t.Error(err)
	}
	t.Logf("not measured: %q", notes)
	costs := measured.Lines.At(400)
	// The payload itself is the least that is written and sent, once to each server.
	for _, cost := range []plan.Cost{plan.WAL, plan.NetworkPostgres, plan.NetworkRedis, plan.Waiting} {
		if costs[cost] < 400 || costs[cost] > 40_000 {
			t.Errorf("%s is %v for a payload of 400 bytes", cost, costs[cost])
		}
	}
	if costs[plan.Rows] != 4 {
		t.Errorf("%v rows, want 4", costs[plan.Rows])
	}
}
