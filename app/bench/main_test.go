package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"os"
	"strconv"
	"testing"

	"github.com/spf13/pflag"

	"outboxd/app"
	"outboxd/app/bench"
	"outboxd/app/bench/env"
	"outboxd/app/bench/result"
	"outboxd/app/bench/spec"
	"outboxd/app/servertest"
	"outboxd/config"
)

// processVariable turns the test binary into outboxd.
const processVariable = "BENCH_TEST_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(processVariable) != "" {
		os.Exit(app.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr, app.Build{Version: "1.2.3"}))
	}
	servertest.Main(m)
}

// options lead to a database and a Redis database of the test's own, with the schema
// "bench".
func options(t *testing.T) env.Options {
	t.Helper()
	redisURL := servertest.Redis(t)
	u, err := url.Parse(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(u.Query().Get("db"))
	if err != nil {
		t.Fatal(err)
	}
	return env.Options{
		DatabaseURL: servertest.Database(t), RedisURL: redisURL, RedisDB: number, Schema: "bench",
		Config: config.Default(), Version: "1.2.3", Log: servertest.Logger(t), Progress: &bytes.Buffer{},
		Executable: []string{"env", processVariable + "=1", "GORACE=atexit_sleep_ms=0", os.Args[0]},
	}
}

func newEnv(t *testing.T) *env.Env {
	t.Helper()
	return newEnvOn(t, options(t))
}

func newEnvOn(t *testing.T, o env.Options) *env.Env {
	t.Helper()
	e, err := env.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

func find(t *testing.T, name string) spec.Bench {
	t.Helper()
	for _, b := range bench.All() {
		if b.Name == name {
			return b
		}
	}
	t.Fatalf("there is no benchmark %q", name)
	return spec.Bench{}
}

// attempt runs a benchmark as the command line would.
func attempt(t *testing.T, e *env.Env, name string, args ...string) (*result.Report, error) {
	t.Helper()
	flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
	run := find(t, name).Prepare(flags)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	return run(t.Context(), e)
}

// measure returns a benchmark's report and its JSON.
func measure(t *testing.T, e *env.Env, name string, args ...string) (*result.Report, document) {
	t.Helper()
	report, err := attempt(t, e, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := report.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := json.Unmarshal(text.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Bench != name {
		t.Errorf("the report is of %q", doc.Bench)
	}
	for _, key := range []string{"outboxd", "postgresql", "redis", "os", "cpus", "relay_concurrency", "relay_batch_size"} {
		if doc.Environment[key] == "" {
			t.Errorf("the environment does not say %s", key)
		}
	}
	return report, doc
}

// document is the result in JSON. Its fields have the documented names.
type document struct {
	Bench string `json:"bench"`
	Arms  []struct {
		Name            string             `json:"name"`
		EventsPerSecond float64            `json:"events_per_second"`
		Rounds          []float64          `json:"rounds"`
		Figures         map[string]float64 `json:"figures"`
		Curve           []result.Point     `json:"curve"`
	} `json:"arms"`
	Ratios      map[string]float64 `json:"ratios"`
	Suggestions []struct {
		Handlers    string   `json:"handlers"`
		Flags       []string `json:"flags"`
		Tasks       int      `json:"tasks"`
		Connections int      `json:"connections"`
		Default     int      `json:"default"`
		Reason      string   `json:"reason"`
	} `json:"suggestions"`
	Environment map[string]string `json:"environment"`
}

// wantRates checks that these arms, in this order, have a rate in each round.
func (d *document) wantRates(t *testing.T, rounds int, names ...string) {
	t.Helper()
	if len(d.Arms) != len(names) {
		t.Fatalf("%d arms, want %v", len(d.Arms), names)
	}
	for i, arm := range d.Arms {
		if arm.Name != names[i] || arm.EventsPerSecond <= 0 || len(arm.Rounds) != rounds {
			t.Errorf("arm %q has %v events/s of %d rounds, want %q with %d", arm.Name, arm.EventsPerSecond, len(arm.Rounds), names[i], rounds)
		}
	}
}

func (d *document) wantRatios(t *testing.T, names ...string) {
	t.Helper()
	if len(d.Ratios) != len(names) {
		t.Errorf("ratios %v, want %v", d.Ratios, names)
	}
	for _, name := range names {
		if d.Ratios[name] <= 0 {
			t.Errorf("ratio %s is %v", name, d.Ratios[name])
		}
	}
}

// wantCurves checks that every arm's curve covers all of its events.
func (d *document) wantCurves(t *testing.T, events int) {
	t.Helper()
	for _, arm := range d.Arms {
		if len(arm.Curve) == 0 {
			t.Errorf("arm %q has no curve", arm.Name)
			continue
		}
		last := 0.0
		for _, point := range arm.Curve {
			if point.X <= last || point.X >= float64(events) || point.Y < 0 {
				t.Errorf("arm %q has the point %v after %v of %d", arm.Name, point, last, events)
			}
			last = point.X
		}
	}
}
