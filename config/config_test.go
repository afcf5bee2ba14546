package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"outboxd/config"
)

// setting is a configuration to load: the content of outboxd.yaml, if any,
// the environment and the command line.
type setting struct {
	file     string
	env      []string
	flags    []string
	handlers config.Handlers
}

func (s setting) load(t *testing.T) (*config.Config, error) {
	t.Helper()
	dir := t.TempDir()
	if s.file != "" {
		write(t, filepath.Join(dir, config.FileName), s.file)
	}
	return s.loadIn(t, dir)
}

func (s setting) loadIn(t *testing.T, dir string) (*config.Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("outboxd", pflag.ContinueOnError)
	config.AddFlags(fs)
	if err := fs.Parse(s.flags); err != nil {
		t.Fatalf("parse %q: %v", s.flags, err)
	}
	return config.Load(fs, s.env, dir, func(*config.Config) config.Handlers { return s.handlers })
}

func (s setting) mustLoad(t *testing.T) *config.Config {
	t.Helper()
	c, err := s.load(t)
	if err != nil {
		t.Fatalf("load %+v: %v", s, err)
	}
	return c
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDefaultNeedsNothing(t *testing.T) {
	t.Parallel()
	c := setting{}.mustLoad(t)
	if got, want := effective(t, c), effective(t, config.Default()); got != want {
		t.Errorf("nothing set gives\n%s\nand Default\n%s", got, want)
	}
	if c.Notify != config.NotifyLog {
		t.Errorf("without a database URL notify is %q, want log", c.Notify)
	}
	for _, role := range config.AllRoles() {
		if !c.HasRole(role) {
			t.Errorf("role %s is off", role)
		}
	}
}

func TestPoolSize(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		roles, maxConns string
		size            int
	}{
		{"all", "0", 4 + 3 + 7 + 2 + 8 + 8},
		{"relay", "0", 4 + 3},
		{"worker", "0", 4 + 7 + 2 + 8},
		{"api", "0", 4 + 8},
		{"monitor", "0", 4},
		{"relay,worker", "22", 22},
		{"relay", "7", 7},
	} {
		c := setting{flags: []string{
			"--roles=" + test.roles, "--database-max-conns=" + test.maxConns, "--relay-concurrency=3", "--worker-concurrency=7",
		}}.mustLoad(t)
		if got := c.PoolSize(); got != test.size {
			t.Errorf("roles %s, max_conns %s: pool of %d, want %d", test.roles, test.maxConns, got, test.size)
		}
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"all", "all"},
		{"worker,api", "api,worker"},
		{" relay , relay,", "relay"},
		{"api,all", "all"},
		{"monitor,worker,relay,api", "all"},
	} {
		c := setting{flags: []string{"--roles=" + test.text}}.mustLoad(t)
		if got := c.Roles.String(); got != test.want {
			t.Errorf("--roles=%s: %s, want %s", test.text, got, test.want)
		}
	}
	c := setting{flags: []string{"--roles=api", "--roles=relay"}}.mustLoad(t)
	if got := c.Roles.String(); got != "api,relay" {
		t.Errorf("a repeated --roles gives %s", got)
	}
	if c.HasRole(config.RoleWorker) {
		t.Error("the role worker is on")
	}
}

// effective returns what WriteYAML writes.
func effective(t *testing.T, c *config.Config) string {
	t.Helper()
	var text strings.Builder
	if err := c.WriteYAML(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}
