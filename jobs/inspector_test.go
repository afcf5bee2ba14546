package jobs_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"outboxd/domain"
	"outboxd/jobs"
	"outboxd/repository/repositorytest"
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
			server := repositorytest.OwnRedis(t)
			inspector, _ := newInspector(t, server.URL(), false)
			_, client := newPublisher(t, server.URL())
			for _, command := range test.settings {
				if err := client.Do(t.Context(), command...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			found, err := inspector.Inspect(t.Context())
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

func TestInspectorLogsOnceAndSaysWhenRedisIsAway(t *testing.T) {
	t.Parallel()
	server := repositorytest.OwnRedis(t)
	_, client := newPublisher(t, server.URL())
	if err := client.ConfigSet(t.Context(), "appendonly", "no").Err(); err != nil {
		t.Fatal(err)
	}
	inspector, log := newInspector(t, server.URL(), false)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- inspector.Run(ctx) }()
	eventually(t, "the findings are known", func() bool { return len(inspector.Findings()) == 1 })
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "finding=redis-keeps-nothing") || !strings.Contains(text, "CONFIG SET appendonly yes") {
		t.Errorf("the log says %s", text)
	}
	if lines := domain.Warnings(inspector.Findings()); len(lines) != 1 || !strings.HasPrefix(lines[0], "redis-keeps-nothing: ") {
		t.Errorf("warnings %q", lines)
	}
	server.Kill()
	if _, err := inspector.Inspect(t.Context()); domain.ErrorCode(err) != domain.CodeUnavailable {
		t.Errorf("with Redis away: %v, want unavailable", err)
	}
}

func TestInspectorKnowsTheInProcessRedis(t *testing.T) {
	t.Parallel()
	inspector, _ := newInspector(t, "redis://127.0.0.1:1", true)
	found, err := inspector.Inspect(t.Context())
	if err != nil || codes(found) != "redis-in-process/warning" {
		t.Errorf("found %q, %v", codes(found), err)
	}
}

func newInspector(t *testing.T, url string, inProcess bool) (*jobs.Inspector, *logText) {
	t.Helper()
	opt, err := jobs.ParseRedis(url)
	if err != nil {
		t.Fatal(err)
	}
	log := &logText{}
	inspector, err := jobs.NewInspector(opt, inProcess, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inspector.Close() })
	return inspector, log
}

// logText is a log that may be read while it is written.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
