package inspect_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/jobs/broker"
	"outboxd/jobs/inspect"
)

func codes(findings []domain.Finding) string {
	var list []string
	for _, f := range findings {
		list = append(list, f.Code+"/"+string(f.Level))
	}
	return strings.Join(list, " ")
}

func TestInspectorFindsWhatEndangersTheQueue(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		settings [][]any
		want     string
	}{
		"as it should be":           {nil, ""},
		"evicts":                    {[][]any{{"CONFIG", "SET", "maxmemory", "1gb"}, {"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"}}, "redis-evicts/warning"},
		"evicts what has a TTL":     {[][]any{{"CONFIG", "SET", "maxmemory", "1gb"}, {"CONFIG", "SET", "maxmemory-policy", "volatile-lru"}}, "redis-evicts/warning"},
		"would evict":               {[][]any{{"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"}}, "redis-eviction-policy/note"},
		"keeps nothing":             {[][]any{{"CONFIG", "SET", "appendonly", "no"}}, "redis-keeps-nothing/warning"},
		"keeps snapshots":           {[][]any{{"CONFIG", "SET", "appendonly", "no"}, {"CONFIG", "SET", "save", "900 1"}}, "redis-snapshots-only/note"},
		"hides CONFIG":              {[][]any{{"ACL", "SETUSER", "default", "-config"}}, ""},
		"evicts and hides CONFIG":   {[][]any{{"CONFIG", "SET", "maxmemory", "1gb"}, {"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"}, {"ACL", "SETUSER", "default", "-config"}}, "redis-evicts/warning"},
		"hides CONFIG and has none": {[][]any{{"CONFIG", "SET", "appendonly", "no"}, {"ACL", "SETUSER", "default", "-config"}}, "redis-settings-hidden/note"},
		"hides everything":          {[][]any{{"ACL", "SETUSER", "default", "-config", "-info"}}, "redis-settings-hidden/note"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			inspector := newInspector(t, server.URL(), false, time.Now)
			client := connect(t, server.URL())
			for _, command := range test.settings {
				if err := client.Do(t.Context(), command...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			found, err := inspector.Examine(t.Context())
			if err != nil || codes(found) != test.want {
				t.Errorf("found %q, %v, want %q", codes(found), err, test.want)
			}
			for _, f := range found {
				if f.Found == "" || f.Consequence == "" || f.Remedy == "" {
					t.Errorf("%s says too little: %+v", f.Code, f)
				}
			}
		})
	}
}

func TestInspectorKnowsTheInProcessRedis(t *testing.T) {
	t.Parallel()
	found, err := newInspector(t, servertest.Redis(t), true, time.Now).Examine(t.Context())
	if err != nil || codes(found) != "redis-in-process/warning" {
		t.Errorf("found %q, %v", codes(found), err)
	}
}

// TestInspectorFindsHowRedisDoes provokes the states that INFO reports.
func TestInspectorFindsHowRedisDoes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := connect(t, server.URL())
	do := func(args ...any) {
		t.Helper()
		if err := client.Do(t.Context(), args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
	inspector := newInspector(t, server.URL(), false, time.Now)
	expect := func(when, want string, parts ...string) {
		t.Helper()
		found, err := inspector.Examine(t.Context())
		if err != nil || codes(found) != want {
			t.Fatalf("%s: found %q, %v, want %q", when, codes(found), err, want)
		}
		for _, part := range parts {
			if !strings.Contains(found[0].String(), part) {
				t.Errorf("%s: it does not say %q: %s", when, part, found[0])
			}
		}
	}
	expect("as it should be", "")
	do("SET", "ballast", strings.Repeat("x", 8<<20))
	used, err := strconv.ParseInt(broker.ParseInfo(client.Info(t.Context(), "memory").Val())["used_memory"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	limit := used * 100 / 90
	do("CONFIG", "SET", "maxmemory", limit)
	expect("nearly full", "redis-memory/warning", fmt.Sprintf("of the %d MiB", limit>>20), "--relay-max-queue")
	do("CONFIG", "SET", "maxmemory", used/2)
	expect("full", "redis-memory/broken", "takes no more tasks")
	do("CONFIG", "SET", "maxmemory", "0")
	do("CONFIG", "SET", "maxclients", "2")
	expect("few connections", "redis-connections/warning", "of the 2 connections")
	do("CONFIG", "SET", "maxclients", "100")
	do("REPLICAOF", "127.0.0.1", "1")
	expect("a replica", "redis-read-only/broken", "Sentinel")
	do("REPLICAOF", "NO", "ONE")
	server.Kill()
	if _, err := inspector.Examine(t.Context()); domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("with Redis away: %v, want unavailable", err)
	}
}

func TestInspectorComparesClocks(t *testing.T) {
	t.Parallel()
	for shift, want := range map[time.Duration]string{time.Hour: "redis-clock: Redis's clock is 1 h behind", -time.Hour: "redis-clock: Redis's clock is 1 h ahead of"} {
		found, err := newInspector(t, servertest.Redis(t), false, func() time.Time { return time.Now().Add(shift) }).Examine(t.Context())
		if err != nil || codes(found) != "redis-clock/warning" || !strings.HasPrefix(found[0].String(), want) {
			t.Errorf("shifted by %v: found %v, %v", shift, found, err)
		}
	}
}

// A task waits in one queue, and a worker serves another.
func TestInspectorFindsQueuesThatNobodyServes(t *testing.T) {
	t.Parallel()
	url := servertest.Redis(t)
	opt, err := broker.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := asynq.NewClient(opt)
	defer func() { _ = client.Close() }()
	if _, err := client.Enqueue(asynq.NewTask("report:build", nil), asynq.Queue("reports"), asynq.ProcessIn(time.Hour)); err != nil {
		t.Fatal(err)
	}
	inspector := newInspector(t, url, false, time.Now)
	found, err := inspector.Examine(t.Context())
	if err != nil || codes(found) != "queue-unserved/broken" || !strings.Contains(found[0].Found, "no worker serves reports (1 task)") ||
		!strings.Contains(found[0].Remedy, `start the worker that handles "report:build", and let it serve the queue reports`) {
		t.Errorf("without a worker: found %v, %v", found, err)
	}
	server := asynq.NewServer(opt, asynq.Config{Queues: map[string]int{"reports": 1}, LogLevel: asynq.FatalLevel})
	if err := server.Start(asynq.NewServeMux()); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "the worker has registered", func() bool {
		found, err = inspector.Examine(t.Context())
		return err == nil && codes(found) == ""
	})
	server.Shutdown()
	asynqs := asynq.NewInspector(opt)
	defer func() { _ = asynqs.Close() }()
	if err := asynqs.PauseQueue("reports"); err != nil {
		t.Fatal(err)
	}
	found, err = inspector.Examine(t.Context())
	if err != nil || codes(found) != "queue-unserved/broken queue-paused/warning" || !strings.Contains(found[1].Found, "reports is paused") {
		t.Errorf("paused: found %v, %v", found, err)
	}
}

func connect(t *testing.T, url string) *redis.Client {
	t.Helper()
	options, err := broker.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := options.MakeRedisClient().(*redis.Client)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func newInspector(t *testing.T, url string, inProcess bool, now func() time.Time) *inspect.Inspector {
	t.Helper()
	return inspect.NewInspector(open(t, url), inProcess, now)
}
