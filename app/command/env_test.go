package command

import (
	"strings"
	"testing"

	"outboxd/app/daemon"
)

// TestEnv prints configured addresses for a shell. Those of running servers are in TestTutorial.
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
	if out, err := run("--redis-url=redis://redis:6379/1"); err == nil || !strings.Contains(err.Error(), "no outboxd runs on the data directory") {
		t.Errorf("without a running PostgreSQL: %q, %v", out, err)
	}
}
