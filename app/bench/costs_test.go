package bench_test

import (
	"testing"

	"outboxd/app/bench/costing"
	"outboxd/app/bench/plan"
)

// TestCosts measures all costs on this machine's servers.
func TestCosts(t *testing.T) {
	t.Parallel()
	measured, notes, err := costing.Measure(t.Context(), newEnv(t), 100, 400)
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
