package app_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// place returns a data directory. If the test runs as root, the servers' own user can reach the directory, too.
func place(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "data")
}

func TestOwnServers(t *testing.T) {
	t.Parallel()
	dataDir := place(t)
	p := start(t, "--data-dir="+dataDir)
	ada := register(t, p.api, "ada@example.com")
	awaitSent(t, p.api, ada)
	first := p.log.find("ready")["after"]
	p.stop()

	p = start(t, "--data-dir="+dataDir)
	user := awaitSent(t, p.api, ada)
	if user.Email != "ada@example.com" {
		t.Errorf("after a restart the user is %+v", user)
	}
	t.Logf("ready after %v the first time, %v the second", duration(first), duration(p.log.find("ready")["after"]))

	// A second process on the same folder works with the same servers.
	second := start(t, "--data-dir="+dataDir)
	grace := register(t, second.api, "grace@example.com")
	awaitSent(t, p.api, grace)
	second.stop()

	p.kill()
	p = start(t, "--data-dir="+dataDir)
	awaitSent(t, p.api, grace)
	p.stop()
	if mails, _ := countMails(t, dataDir); mails != 2 {
		t.Errorf("%d mails, want 2", mails)
	}
	// The commands find the servers' data as well, and leave nothing running.
	r := execute(t, nil, "migrate", "status", "--data-dir="+dataDir, "--log-level=warn")
	if r.code != 0 || strings.Contains(r.stdout, "pending") || r.stderr != "" {
		t.Errorf("migrate status: %+v", r)
	}
	sockets, err := filepath.Glob(filepath.Join(dataDir, "run", ".s.PGSQL.*"))
	if err != nil || len(sockets) > 0 {
		t.Errorf("%v is left, %v", sockets, err)
	}
}

// duration reads a duration that a log gives in nanoseconds.
func duration(field any) time.Duration {
	nanoseconds, _ := field.(float64)
	return time.Duration(nanoseconds)
}

// TestOwnServerDies wants a daemon to end when a server that it runs itself has died.
func TestOwnServerDies(t *testing.T) {
	t.Parallel()
	p := start(t, "--data-dir="+place(t))
	pid, _ := p.log.find("embedded PostgreSQL runs")["pid"].(float64)
	if pid == 0 {
		t.Fatal("the log does not say which process PostgreSQL is")
	}
	if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	state, _ := p.wait()
	message := result{stderr: p.log.String()}.message()
	if state.ExitCode() != 1 || !strings.Contains(message, "embedded PostgreSQL") || strings.Count(message, "\n") != 1 {
		t.Errorf("ended with %v and %q, want exit code 1 and a message that names the server", state, message)
	}
}

// A command does not make a data directory whose name is misspelt: an empty database in it looks like the loss of
// everything.
func TestCommandsMakeNoServersOfTheirOwn(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "none")
	for _, args := range [][]string{{"doctor"}, {"verify"}, {"events", "list"}, {"top", "--once"}} {
		r := execute(t, nil, append(args, "--data-dir="+missing)...)
		if r.code != 2 || !strings.Contains(r.stderr, missing) || !strings.Contains(r.stderr, "--database-url") {
			t.Errorf("%v: %d, %s", args, r.code, r.message())
		}
	}
	if _, err := os.Stat(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the data directory was made: %v", err)
	}
}
