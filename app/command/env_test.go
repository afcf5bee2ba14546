package command

import (
	"strings"
	"testing"

	"outboxd/app/daemon"
)

// TestEnv checks what env prints for configured servers. TestTutorial uses what env prints for servers that a running
// outboxd started.
func TestEnv(t *testing.T) {
	t.Parallel()
	run := func(args ...string) (string, error) {
		cmd := New(nil, daemon.Build{})
		var out strings.Builder
		cmd.SetOut(&out)
		cmd.SetArgs(append([]string{"env", "--data-dir=" + t.TempDir()}, args...))
		err := cmd.Execute()
		return out.String(), err
	}
	out, err := run("--database-url=postgres://ann:secret@db/app?a=1&b=2", "--redis-url=redis://redis:6379/1")
	if want := "export DATABASE_URL='postgres://ann:secret@db/app?a=1&b=2'\nexport REDIS_URL=redis://redis:6379/1\n"; err != nil || out != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
	for url, want := range map[string]string{
		"redis-socket:///run/a%20b/redis.sock?db=1": "redis-cli -s '/run/a b/redis.sock' -n 1\n",
		"redis://redis:6379/1":                      "redis-cli -h redis -p 6379 -n 1\n",
		"redis://ann:it%27s@redis":                  "REDISCLI_AUTH='it'\\''s' redis-cli -h redis --user ann\n",
	} {
		if out, err := run("--redis-cli", "--database-url=postgres://db/app", "--redis-url="+url); err != nil || out != want {
			t.Errorf("the command of redis-cli for %s: %q, %v, want %q", url, out, err, want)
		}
	}
	for _, c := range []struct{ flag, url, says string }{
		{"--notify=log", "redis-sentinel://a:26379?master=m", "SENTINEL get-master-addr-by-name"},
		{"--redis-password-file=/nowhere/secret", "redis://redis:6379", "/nowhere/secret"},
	} {
		if out, err := run("--redis-cli", "--database-url=postgres://db/app", "--redis-url="+c.url, c.flag); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("the command of redis-cli with %s for %s: %q, %v", c.flag, c.url, out, err)
		}
	}
	for flag, says := range map[string]string{
		"--notify=log":                     "no outboxd runs on the data directory",
		"--redis-url=redis://redis:6379/1": "set DATABASE_URL",
		"--database-url=postgres://db/app": "set REDIS_URL",
	} {
		if out, err := run(flag); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("with %s alone: %q, %v", flag, out, err)
		}
	}
}
