package app_test

import (
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
)

// silent returns the address of a server that accepts connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

// Commands end within their --timeout and say in one line what is wrong with a server.
func TestCommandsWhenAServerIsIll(t *testing.T) {
	t.Parallel()
	database, redis := servertest.Database(t), redistest.Start(t)
	healthy := on(database, redis.URL(), t.TempDir())
	if r := execute(t, nil, append([]string{"migrate", "up"}, healthy...)...); r.code != 0 {
		t.Fatal(r.stderr)
	}
	nowhere, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := nowhere.Addr().String()
	_ = nowhere.Close()
	for _, c := range []struct{ name, url, cause string }{
		{"refused", "postgres://a@" + refused + "/b?sslmode=disable", "connection refused"},
		{"silent", "postgres://a@" + silent(t) + "/b?sslmode=disable", "does not answer within"},
		{"no such database", strings.Replace(database, "/test_", "/no_test_", 1), "does not exist"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, command := range [][]string{{"events", "list"}, {"dead", "list"}, {"keys", "list"}, {"migrate", "status"}} {
				r := execute(t, nil, append(command, "--timeout=1s", "--database-url="+c.url, "--redis-url="+redis.URL())...)
				if said := strings.TrimSpace(r.message()); r.code != 1 || !strings.Contains(said, c.cause) || strings.Contains(said, "\n") {
					t.Errorf("%v: exit code %d, says %q", command, r.code, said)
				}
			}
		})
	}
	// What could not be read is unknown, and not 0.
	look := func(args ...string) (v map[string]any) {
		t.Helper()
		r := execute(t, nil, append([]string{"top", "-o=json", "--timeout=1s"}, args...)...)
		if err := json.Unmarshal([]byte(r.stdout), &v); err != nil || r.code != 0 {
			t.Fatalf("exit code %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
		}
		return v
	}
	v := look("--database-url=postgres://a@"+silent(t)+"/b?sslmode=disable", "--redis-url="+redis.URL())
	for _, name := range []string{"pending", "held", "dead", "oldest_due_seconds", "now", "hour", "confirmed_of_day", "relays"} {
		if value, there := v[name]; !there || value != nil {
			t.Errorf("without PostgreSQL %s is %v", name, value)
		}
	}
	if v["in_redis"] != 0.0 {
		t.Errorf("without PostgreSQL in_redis is %v", v["in_redis"])
	}
	redis.Pause()
	v = look(healthy...)
	for _, name := range []string{"in_redis", "workers", "queues"} {
		if value, there := v[name]; !there || value != nil {
			t.Errorf("without Redis %s is %v", name, value)
		}
	}
	if v["pending"] != 0.0 {
		t.Errorf("without Redis pending is %v", v["pending"])
	}
	r := execute(t, nil, append([]string{"top", "--once"}, healthy...)...)
	_, figures, _ := strings.Cut(r.stdout, "\n\n") // the sentences come first
	for line := range strings.Lines(figures) {
		if len([]rune(strings.TrimSpace(line))) > 60 {
			t.Errorf("a line of top is wider than 60 columns: %q", line)
		}
	}
	if !strings.Contains(figures, "?") {
		t.Errorf("top does not say what it does not know:\n%s", r.stdout)
	}
	db := schematest.Connect(t, database).SQL()
	if _, err := db.ExecContext(t.Context(), `INSERT INTO outbox_sent (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at)
		VALUES (outbox_new_id(), 'a:sent', '', '{}', 'default', now(), 0, 0, now())`); err != nil {
		t.Fatal(err)
	}
	r = execute(t, nil, append([]string{"events", "export", "--timeout=1s"}, healthy...)...)
	if r.code != 0 || !strings.Contains(r.stdout, ",in flight,") || !strings.Contains(r.stderr, "Failing events are written as in flight: ") {
		t.Errorf("without Redis the export ends with %d, %s%s", r.code, r.stdout, r.stderr)
	}
	if r := execute(t, nil, append([]string{"events", "retry", "--all", "--yes"}, healthy...)...); r.code != 1 || r.stdout != "" || !strings.Contains(r.message(), "the queue is unavailable: redis-unreachable: Redis does not answer in time; ") || !strings.Contains(r.message(), ": list the failing tasks: i/o timeout") || strings.Count(strings.TrimSpace(r.message()), "\n") > 0 {
		t.Errorf("exit code %d, says %q, prints %q", r.code, r.message(), r.stdout)
	}
	redis.Resume()
	// A lock holds the statement up, although the server answers.
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE outbox_dead IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"dead", "list"}, {"dead", "group"}, {"events", "list"}} {
		r := execute(t, nil, slices.Concat(command, []string{"--timeout=1s"}, healthy)...)
		if r.code != 1 || !strings.Contains(r.message(), "did not answer in time") || !strings.Contains(r.message(), "--timeout is 1s") {
			t.Errorf("%v behind a lock: exit code %d, says %q", command, r.code, r.message())
		}
	}
}
