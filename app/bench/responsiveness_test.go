package bench_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"outboxd/app/bench/env"
	"outboxd/app/bench/live"
	"outboxd/app/bench/result"
)

// headline is what a report has beside arms and ratios.
type headline struct {
	P50                   *float64 `json:"p50_ms"`
	P99                   *float64 `json:"p99_ms"`
	TransactionsPerSecond *float64 `json:"transactions_per_second"`
}

func readHeadline(t *testing.T, report *result.Report) (h headline) {
	t.Helper()
	text, err := json.Marshal(report)
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestLatency(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	report, doc := measure(t, e, "latency", "--rate=200", "--seconds=0.5", "--burst=60")
	wanted := map[string]float64{}
	for _, effects := range []string{"", ", effects one by one", ", effects together", ", effects in batches"} {
		wanted["200 events/s"+effects], wanted["burst of 60, one transaction"+effects], wanted["burst of 60, one transaction each"+effects] = 100, 60, 60
	}
	if len(doc.Arms) != len(wanted) {
		t.Errorf("%d arms, want %d", len(doc.Arms), len(wanted))
	}
	for _, arm := range doc.Arms {
		if arm.Figures["events"] != wanted[arm.Name] {
			t.Errorf("arm %q has %v events, want %v", arm.Name, arm.Figures["events"], wanted[arm.Name])
		}
		for _, what := range []string{"enqueued", "handler", "effect"} {
			last := 0.0
			for _, quantile := range []string{"p50", "p95", "p99", "max"} {
				value, there := arm.Figures[what+"_"+quantile+"_ms"]
				if !there || value < last {
					t.Errorf("arm %q, %s: %s is %v after %v", arm.Name, what, quantile, value, last)
				}
				last = value
			}
		}
	}
	h := readHeadline(t, report)
	if h.P50 == nil || h.P99 == nil || *h.P50 <= 0 || *h.P99 < *h.P50 {
		t.Errorf("p50_ms %v, p99_ms %v", h.P50, h.P99)
	}
	const all = 100 + 100 + 60 + 60 // the first to warm up
	var sent, processed, effects int
	err := e.Admin.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM outbox_sent), (SELECT count(*) FROM inbox), (SELECT count(DISTINCT event_id) FROM bench_effects)").Scan(&sent, &processed, &effects)
	if err != nil || sent != 4*all || processed != 4*all || effects != 3*all {
		t.Errorf("%d events sent, %d processed and %d effects, want %d, %d and %d, %v", sent, processed, effects, 4*all, 4*all, 3*all, err)
	}
}

func TestProducer(t *testing.T) {
	t.Parallel()
	_, doc := measure(t, newEnv(t), "producer", "--clients=1,4", "--seconds=0.2", "--rounds=2")
	doc.wantRates(t, 2,
		"no trigger, clients=1", "awake, clients=1", "asleep, clients=1", "always notify, clients=1",
		"no trigger, clients=4", "awake, clients=4", "asleep, clients=4", "always notify, clients=4")
	doc.wantRatios(t, "awake", "asleep", "always")
}

// TestProducerArms runs the arms one by one, and listens for the
// notifications that they send.
func TestProducerArms(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	if _, err := attempt(t, e, "producer", "--clients=1", "--seconds=0.01", "--rounds=1"); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), e.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "LISTEN outbox_wake"); err != nil {
		t.Fatal(err)
	}
	for _, arm := range live.ProducerArms() {
		if err := arm.Take(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Admin.Exec(t.Context(), `INSERT INTO outbox (event_type, payload) VALUES ('a', '1')`); err != nil {
			t.Fatal(err)
		}
		// Notifications arrive in the order of commits: this one is the last.
		if _, err := e.Admin.Exec(t.Context(), "NOTIFY outbox_wake, 'end'"); err != nil {
			t.Fatal(err)
		}
		heard := 0
		for {
			n, err := conn.WaitForNotification(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if n.Payload == "end" {
				break
			}
			heard++
		}
		if want := map[string]int{"asleep": 1, "always notify": 1}[arm.Name]; heard != want {
			t.Errorf("%q: %d notifications, want %d", arm.Name, heard, want)
		}
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	report, doc := measure(t, newEnv(t), "idle", "--seconds=1.5", "--settle=0s")
	h := readHeadline(t, report)
	process := doc.Arms[0]
	if h.TransactionsPerSecond == nil || *h.TransactionsPerSecond <= 0 || process.Name != "process" {
		t.Fatalf("transactions per second %v, arm %q", h.TransactionsPerSecond, process.Name)
	}
	for _, name := range []string{"seconds", "transactions_per_second", "redis_commands_per_second", "resident_mib", "goroutines"} {
		if process.Figures[name] <= 0 {
			t.Errorf("%s is %v", name, process.Figures[name])
		}
	}
	for _, name := range []string{"cpu_ms_per_second", "database_transactions_per_second"} {
		if value, there := process.Figures[name]; !there || value < 0 {
			t.Errorf("%s is %v", name, value)
		}
	}
	kinds := map[string]float64{}
	for _, arm := range doc.Arms[1:] {
		kind, _, _ := strings.Cut(arm.Name, ":")
		kinds[kind] += arm.Figures["per_second"]
	}
	if kinds["sql"] <= 0 || kinds["redis"] <= 0 || len(kinds) != 2 {
		t.Errorf("the breakdown has %v", kinds)
	}
}

func TestIdleOfBrokenProcess(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Executable = []string{"sh", "-c", "echo no such luck >&2; exit 3"}
	e, err := env.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	if _, err := attempt(t, e, "idle", "--seconds=1", "--settle=0s"); err == nil || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("a process that ends at once: %v", err)
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	const rtt = 2 * time.Millisecond
	_, doc := measure(t, newEnv(t), "network", "--rtt="+rtt.String(), "--events=1500", "--rounds=2")
	doc.wantRates(t, 2, "outboxd", "floor")
	doc.wantRatios(t, "floor")
	for _, name := range []string{"rtt_postgresql", "rtt_redis"} {
		if seen, err := time.ParseDuration(doc.Environment[name]); err != nil || seen < rtt {
			t.Errorf("%s is %v, %v, want %v at least", name, seen, err, rtt)
		}
	}
}

func TestResponsivenessRefusals(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for _, args := range [][]string{
		{"latency", "--rate=0"},
		{"latency", "--seconds=-1"},
		{"latency", "--burst=-1"},
		{"producer", "--seconds=0"},
		{"producer", "--rounds=0"},
		{"producer", "--clients=0"},
		{"producer", "--clients="},
		{"idle", "--seconds=0"},
		{"idle", "--settle=-1s"},
		{"network", "--events=0"},
		{"network", "--rtt=-1ms"},
	} {
		if _, err := attempt(t, e, args[0], args[1:]...); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}
