package app_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
)

type examination struct {
	Findings []struct{ Code, Level, Found, Consequence, Remedy string }
	Broken   int
	Warnings int
}

func (d examination) codes() (list []string) {
	for _, f := range d.Findings {
		// Every test server has fsync off, to spare the disk.
		if f.Code != "postgres-fsync-off" {
			list = append(list, f.Code)
		}
	}
	return list
}

// TestDoctor looks at servers before a daemon runs, beside one, and when one of them is down.
func TestDoctor(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	servers := on(servertest.Database(t), redis.URL(), t.TempDir())
	examine := func(args ...string) (d examination) {
		t.Helper()
		r := execute(t, nil, append(append([]string{"doctor", "-o=json"}, args...), servers...)...)
		if err := json.Unmarshal([]byte(r.stdout), &d); err != nil {
			t.Fatalf("it says %s%s: %v", r.stdout, r.stderr, err)
		}
		if want := min(d.Broken+d.Warnings, 1); r.code != want {
			t.Errorf("exit code %d with %d broken and %d warnings, want %d", r.code, d.Broken, d.Warnings, want)
		}
		return d
	}
	if got := examine().codes(); !slices.Equal(got, []string{"schema-outdated"}) {
		t.Errorf("in an empty database: found %q", got)
	}
	p := start(t, servers...)
	eventually(t, "the doctor finds nothing beside a daemon", func() bool { return len(examine().codes()) == 0 })
	if got := examine("--producer-role=nobody").codes(); !slices.Equal(got, []string{"producer-unknown"}) {
		t.Errorf("with a role that is not there: found %q", got)
	}
	// The daemon notices by itself what happens while it runs.
	db := schematest.Connect(t, strings.TrimPrefix(servers[0], "--database-url=")).SQL()
	if _, err := db.ExecContext(t.Context(), `ALTER TABLE outbox SET (autovacuum_enabled = false)`); err != nil {
		t.Fatal(err)
	}
	warned := start(t, append([]string{"--roles=relay"}, servers...)...)
	eventually(t, "/readyz of a relay warns", func() bool {
		var ready readiness
		getJSON(t, warned.monitor+"/readyz", &ready)
		return slices.ContainsFunc(ready.Warnings, func(w string) bool { return strings.HasPrefix(w, "autovacuum-off: ") })
	})
	warned.stop()
	p.stop()

	redis.Kill()
	r := execute(t, nil, append([]string{"doctor", "-o=yaml"}, servers...)...)
	var d examination
	if err := yaml.Unmarshal([]byte(r.stdout), &d); err != nil {
		t.Fatal(err)
	}
	if got := d.codes(); r.code != 1 || !slices.Contains(got, "redis-unreachable") || !slices.Contains(got, "autovacuum-off") {
		t.Errorf("with Redis down: exit code %d, found %q", r.code, got)
	}
	r = execute(t, nil, append([]string{"doctor", "--database-connect-timeout=1s"}, on("postgres://nobody:hidden@127.0.0.1:1/none", redis.URL(), t.TempDir())...)...)
	if r.code != 1 || !strings.Contains(r.stdout, "broken postgres-unreachable: PostgreSQL cannot be reached\n  so    no event") ||
		!strings.Contains(r.stdout, "broken redis-unreachable: ") || !strings.Contains(r.stdout, "\n2 broken, 0 warnings, 0 notes.\n") || strings.Contains(r.stdout+r.stderr, "hidden") {
		t.Errorf("with nothing to look at: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := execute(t, nil, append([]string{"doctor", "-o=xml"}, servers...)...); r.code != 2 {
		t.Errorf("exit code %d for a form that does not exist, want 2", r.code)
	}
}
