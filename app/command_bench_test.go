package app_test

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outboxd/app/servertest"
)

// benchEnviron returns the variables and the flag with which outboxd bench uses databases
// of the test's own.
func benchEnviron(t *testing.T) (environ []string, redisDB string) {
	t.Helper()
	redis := servertest.Redis(t)
	u, err := url.Parse(redis)
	if err != nil {
		t.Fatal(err)
	}
	return []string{"OUTBOXD_DATABASE_URL=" + servertest.Database(t), "OUTBOXD_REDIS_URL=" + redis}, "--redis-db=" + u.Query().Get("db")
}

func TestBenchCommand(t *testing.T) {
	t.Parallel()
	environ, redisDB := benchEnviron(t)
	picture := filepath.Join(t.TempDir(), "horizon.svg")
	got := execute(t, environ, "bench", "horizon", redisDB, "--events=100", "--rounds=1", "-o=json", "--plot="+picture)
	if got.code != 0 {
		t.Fatalf("exit code %d: %s", got.code, got.stderr)
	}
	var report struct {
		Bench  string
		Ratios map[string]float64
	}
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || report.Bench != "horizon" || report.Ratios["snapshot"] <= 0 {
		t.Errorf("stdout is not the report: %v\n%s", err, got.stdout)
	}
	if svg, err := os.ReadFile(picture); err != nil || !strings.HasPrefix(string(svg), "<svg") {
		t.Errorf("no picture: %v\n%.100s", err, svg)
	}
	// The schema is gone, so a second run finds its place empty.
	got = execute(t, environ, "bench", "drain", redisDB, "--events=50", "--sample=20", "--rounds=1")
	if got.code != 0 || !strings.Contains(got.stdout, "ratio textbook") {
		t.Errorf("exit code %d:\n%s\n%s", got.code, got.stdout, got.stderr)
	}
}

// TestBenchPlan computes from recorded costs, and from its own output.
func TestBenchPlan(t *testing.T) {
	t.Parallel()
	got := execute(t, nil, "bench", "plan", "--rate=50000", "--payload=400", "--assume=recorded", "-o=json")
	var made struct {
		Limits []struct{ Name string }
		Steps  []struct{ First string }
	}
	if err := json.Unmarshal([]byte(got.stdout), &made); err != nil || got.code != 0 || len(made.Steps) != 4 || len(made.Limits) == 0 || made.Steps[0].First != made.Limits[0].Name {
		t.Fatalf("exit code %d, %v:\n%s\n%s", got.code, err, got.stdout, got.stderr)
	}
	file := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(file, []byte(got.stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	got = execute(t, nil, "bench", "plan", "--rate=50000", "--payload=400", "--assume="+file)
	if got.code != 0 || !strings.Contains(got.stdout, "What is reached first") || !strings.Contains(got.stdout, made.Limits[0].Name) {
		t.Errorf("exit code %d:\n%s\n%s", got.code, got.stdout, got.stderr)
	}
}

// The guide shows what bench plan prints.
func TestScalingGuideShowsThePlan(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../docs/guides/scaling.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(guide), "```text plan\n")
	block, _, closed := strings.Cut(after, "```")
	got := execute(t, nil, "bench", "plan", "--rate=50000", "--payload=400", "--assume=recorded")
	if !found || !closed || block == "" || got.code != 0 || !strings.Contains(got.stdout, block) {
		t.Errorf("exit code %d; the guide has %q, which is not a part of:\n%s%s", got.code, block, got.stdout, got.stderr)
	}
}

func TestBenchCommandRefuses(t *testing.T) {
	t.Parallel()
	environ, redisDB := benchEnviron(t)
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"bench", "nothing"}, 2, "nothing"},
		{[]string{"bench", "backlog", redisDB, "--sizes=none"}, 2, "50k,500k,2m"},
		{[]string{"bench", "plan", "--rate=0", "--assume=recorded"}, 2, "--rate"},
		{[]string{"bench", "plan", "--assume=/nonexistent/plan.json"}, 1, "/nonexistent/plan.json"},
		{[]string{"bench", "drain", redisDB, "--schema=No"}, 1, "--schema"},
		{[]string{"bench", "drain", redisDB, "--events=0"}, 1, "--events"},
		{[]string{"bench", "drain", redisDB, "--events=10", "--rounds=1", "--plot=/nonexistent/x.svg"}, 1, "/nonexistent/x.svg"},
	} {
		got := execute(t, environ, test.args...)
		if got.code != test.code || !strings.Contains(got.stderr, test.says) || got.stdout != "" {
			t.Errorf("%v: exit code %d, want %d, and it should say %q:\n%s%s", test.args, got.code, test.code, test.says, got.stdout, got.stderr)
		}
	}
}
