package plan_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"outboxd/app/bench/plan"
)

// With the capacities of machines and the costs below, nearly all limits are round
// numbers.
var machines = plan.Machines{
	Cores: 4, Pollers: 2, Batch: 1000, RTT: time.Millisecond, DiskMB: 100, DiskFlushes: 1000, NetworkMB: 100, RedisMemoryGB: 1, Away: 100 * time.Second, Share: 0.5,
}

// costs are the same at every payload, but for the WAL.
func costs() plan.Lines {
	lines := plan.Lines{}
	for cost, value := range map[plan.Cost]float64{
		plan.ProducePostgres: 100, plan.RelayPostgres: 10, plan.HandlePostgres: 90, plan.RelayProcess: 12, plan.WorkerProcess: 200,
		plan.RelayRedis: 5, plan.HandleRedis: 20, plan.Flushes: 0.5, plan.Rows: 4, plan.Kept: 300, plan.Waiting: 1000,
		plan.NetworkPostgres: 2000, plan.NetworkRedis: 1000,
	} {
		lines[cost] = plan.Line{Base: value}
	}
	lines[plan.WAL] = plan.Line{Base: 1000, PerByte: 5}
	return lines
}

// TestLimits computes each limit from the capacity and the cost.
func TestLimits(t *testing.T) {
	t.Parallel()
	made := plan.Make(plan.Question{Rate: 50_000, Payload: 200, Machines: machines}, plan.Measured{Lines: costs()})
	want := map[string]float64{
		"flushes of PostgreSQL's disk": 1000,   // 500 flushes a second, two events in each
		"Redis's memory":               5000,   // half a GB, 1,000 bytes for 100 s
		"PostgreSQL's processors":      10_000, // two cores, 200 µs
		"one worker process":           10_000,
		"Redis's main thread":          20_000, // half a core, 25 µs
		"PostgreSQL's log on disk":     25_000, // 50 MB/s, 2,000 bytes
		"PostgreSQL's network":         25_000,
		"one relay process":            1e6 / 30, // half of two pollers, 27 µs and 3 ms for 1,000 events
		"Redis's network":              50_000,
	}
	if len(made.Limits) != len(want) {
		t.Errorf("%d limits, want %d", len(made.Limits), len(want))
	}
	last := 0.0
	for _, l := range made.Limits {
		if math.Abs(l.EventsPerSecond-want[l.Name]) > 0.001*want[l.Name] || l.Lift == "" || l.Unit == "" {
			t.Errorf("%s is full at %v, want %v; lifted by %q with %q", l.Name, l.EventsPerSecond, want[l.Name], l.Lift, l.Unit)
		}
		if l.EventsPerSecond < last {
			t.Errorf("%s comes after a limit of %v", l.Name, last)
		}
		last = l.EventsPerSecond
	}
}

// A step has one need for each unit: the largest.
func TestSteps(t *testing.T) {
	t.Parallel()
	made := plan.Make(plan.Question{Rate: 50_000, Payload: 200, Machines: machines}, plan.Measured{Lines: costs()})
	var got []string
	for _, s := range made.Steps {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(text))
	}
	const first = `"first":"flushes of PostgreSQL's disk"`
	want := []string{
		`{"events_per_second":1000,` + first + `,"reached":false,"needs":[]}`,
		`{"events_per_second":10000,` + first + `,"reached":true,"needs":[{"unit":"databases","count":10,"for":"flushes of PostgreSQL's disk"},{"unit":"masters","count":2,"for":"Redis's memory"}]}`,
		`{"events_per_second":50000,` + first + `,"reached":true,"needs":[{"unit":"databases","count":50,"for":"flushes of PostgreSQL's disk"},{"unit":"masters","count":10,"for":"Redis's memory"},{"unit":"worker processes","count":5,"for":"one worker process"},{"unit":"relay processes","count":2,"for":"one relay process"}]}`,
		`{"events_per_second":100000,` + first + `,"reached":true,"needs":[{"unit":"databases","count":100,"for":"flushes of PostgreSQL's disk"},{"unit":"masters","count":20,"for":"Redis's memory"},{"unit":"worker processes","count":10,"for":"one worker process"},{"unit":"relay processes","count":3,"for":"one relay process"}]}`,
	}
	if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
		t.Errorf("the steps are\n%s\nwant\n%s", a, b)
	}
	made = plan.Make(plan.Question{Rate: 10_000, Payload: 200, Machines: machines}, plan.Measured{Lines: costs()})
	if len(made.Steps) != 3 {
		t.Errorf("%d steps, want 3: the reader's rate is one of them", len(made.Steps))
	}
}

// The line goes through both points. A cost that fell counts as noise.
func TestFit(t *testing.T) {
	t.Parallel()
	small, large := plan.Costs{}, plan.Costs{}
	for _, cost := range plan.All() {
		small[cost], large[cost] = 100, 300
	}
	large[plan.Rows] = 80
	lines := plan.Fit(100, small, 1100, large)
	at := lines.At(600)
	if at[plan.WAL] != 200 || at[plan.Rows] != 90 {
		t.Errorf("at 600 bytes the WAL is %v and the rows %v, want 200 and 90", at[plan.WAL], at[plan.Rows])
	}
	if err := lines.Check(); err != nil {
		t.Error(err)
	}
	lines[plan.Waiting] = plan.Line{}
	if notes := lines.Complete(plan.Recorded().Lines); len(notes) != 1 || lines[plan.Waiting] != plan.Recorded().Lines[plan.Waiting] {
		t.Errorf("%q, and the memory is %v", notes, lines[plan.Waiting])
	}
}

// Read accepts what a plan wrote, and refuses anything else.
func TestRead(t *testing.T) {
	t.Parallel()
	made := plan.Make(plan.Question{Rate: 50_000, Payload: 200, Machines: machines}, plan.Recorded())
	text, err := json.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	again, err := plan.Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if before, after := made.Measured.Lines.At(400), again.Lines.At(400); before.Postgres() != after.Postgres() {
		t.Errorf("read %v, wrote %v", after, before)
	}
	for _, text := range []string{``, `{}`, `{"measured": {"lines": {"wal_bytes": {"base": 1}}}}`, strings.Replace(string(text), `"wal_bytes":{"base":`, `"wal_bytes":{"base":-`, 1)} {
		if _, err := plan.Read(strings.NewReader(text)); err == nil {
			t.Errorf("%.60q was accepted", text)
		}
	}
}

// Check refuses a question that has no answer.
func TestQuestion(t *testing.T) {
	t.Parallel()
	good := plan.Question{Rate: 1, Payload: 2, Machines: machines}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for says, change := range map[string]func(*plan.Question){
		"--rate":  func(q *plan.Question) { q.Rate = math.NaN() },
		"--cores": func(q *plan.Question) { q.Cores = 0 },
		"--rtt":   func(q *plan.Question) { q.RTT = -1 },
		"--away":  func(q *plan.Question) { q.Away = 0 },
		"--share": func(q *plan.Question) { q.Share = 1.1 },
	} {
		bad := good
		change(&bad)
		if err := bad.Check(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %s", err, says)
		}
	}
}
