package app_test

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"outboxd/app/faulttest"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
)

// TestTop looks at a running system, and at one without Redis.
func TestTop(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	servers := on(schematest.Database(t), redis.URL(), t.TempDir())
	p := start(t, servers...)
	db := schematest.Connect(t, strings.TrimPrefix(servers[0], "--database-url=")).SQL()
	if _, err := db.ExecContext(t.Context(), `SELECT outboxd.emit('t', '{}', available_at => now() + interval '1 day') FROM generate_series(1, 3)`); err != nil {
		t.Fatal(err)
	}
	type view struct {
		Pending  int
		Relays   []struct{ PID int }
		Workers  []struct{ PID int }
		Findings []struct{ Code string }
	}
	look := func() (v view) {
		t.Helper()
		r := execute(t, nil, append([]string{"top", "-o=json"}, servers...)...)
		if err := json.Unmarshal([]byte(r.stdout), &v); err != nil || r.code != 0 {
			t.Fatalf("exit code %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
		}
		return v
	}
	eventually(t, "top shows three events, a relay and a worker", func() bool {
		v := look()
		return v.Pending == 3 && len(v.Relays) == 1 && v.Relays[0].PID == p.cmd.Process.Pid && len(v.Workers) == 1
	})
	// Without a terminal one view is enough, too.
	for _, args := range [][]string{{"top"}, {"top", "--once", "--interval=1s"}} {
		r := execute(t, nil, append(args, servers...)...)
		for _, want := range []string{"PENDING", "oldest due", "RELAY", "WORKER", "QUEUE"} {
			if r.code != 0 || !strings.Contains(r.stdout, want) || strings.Contains(r.stdout, "\x1b") {
				t.Errorf("%q: exit code %d, without %s or with colour:\n%s%s", args, r.code, want, r.stdout, r.stderr)
			}
		}
	}
	// With an interval the views follow one another until the command is ended.
	cmd := command(t, append([]string{"top", "--interval=200ms"}, servers...)...)
	said := &transcript{}
	cmd.Stdout = said
	startWaiting(t, cmd)
	eventually(t, "top has looked three times", func() bool { return strings.Count(said.String(), "PENDING") > 5 })
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGINT: %v", err)
	}
	if r := execute(t, nil, append([]string{"top", "--interval=1ms"}, servers...)...); r.code != 2 {
		t.Errorf("exit code %d for an interval of 1ms, want 2", r.code)
	}
	redis.Kill()
	away := false
	for _, f := range look().Findings {
		away = away || f.Code == "redis-unreachable"
	}
	if !away {
		t.Error("it does not say that Redis is away")
	}
	p.stop()
}

// TestTopOfADatabaseThatCannotBeUsed starts while PostgreSQL is away. When PostgreSQL is
// back, its database turns out to have no outbox.
func TestTopOfADatabaseThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	proxy := faulttest.NewProxy(t, servertest.Database(t))
	proxy.Refuse()
	cmd := command(t, append([]string{"top", "--interval=200ms", "--timeout=1s"}, on(proxy.URL(), servertest.Redis(t), t.TempDir())...)...)
	said, complained := &transcript{}, &transcript{}
	cmd.Stdout, cmd.Stderr = said, complained
	startWaiting(t, cmd)
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	eventually(t, "top says that PostgreSQL is away", func() bool { return strings.Contains(said.String(), "postgres-unreachable") })
	proxy.Resume()
	eventually(t, "top has ended", func() bool { return len(ended) > 0 })
	if err := <-ended; cmd.ProcessState.ExitCode() != 1 || !strings.Contains(complained.String(), "run outboxd migrate up") {
		t.Errorf("it ended with %v, and said %s", err, complained)
	}
}

// TestTopFindsPostgresWhileRedisIsAway starts while both servers are away. PostgreSQL comes back
// first.
func TestTopFindsPostgresWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	postgres, redis := faulttest.NewProxy(t, schematest.Database(t)), faulttest.NewProxy(t, servertest.Redis(t))
	postgres.Refuse()
	redis.Refuse()
	cmd := command(t, append([]string{"top", "--interval=200ms", "--timeout=1s"}, on(postgres.URL(), redis.URL(), t.TempDir())...)...)
	said := &transcript{}
	cmd.Stdout = said
	startWaiting(t, cmd)
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	eventually(t, "top says that both are away", func() bool {
		return strings.Contains(said.String(), "postgres-unreachable") && strings.Contains(said.String(), "redis-unreachable")
	})
	postgres.Resume()
	counted := regexp.MustCompile(`(?m)^PENDING +0 `)
	eventually(t, "top counts the events of PostgreSQL", func() bool { return counted.MatchString(said.String()) })
}

// startWaiting starts a command whose standard input stays open until the test ends.
func startWaiting(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	keepOpen(t, cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
}
