package config_test

import (
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/pflag"

	"outboxd/config"
	"outboxd/config/value"
)

func TestFileIsFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	named, other := filepath.Join(dir, "named.yaml"), filepath.Join(dir, "other.yaml")
	write(t, filepath.Join(dir, config.FileName), "data_dir: found\n")
	write(t, named, "data_dir: named\n")
	write(t, other, "data_dir: other\n")
	for _, test := range []struct {
		name       string
		set        setting
		data, path string
	}{
		{"in the folder", setting{}, "found", filepath.Join(dir, config.FileName)},
		{"variable", setting{env: []string{"OUTBOXD_CONFIG=" + named}}, "named", named},
		{"flag over variable", setting{env: []string{"OUTBOXD_CONFIG=" + named}, flags: []string{"--config=" + other}}, "other", other},
		{"relative", setting{flags: []string{"--config", "named.yaml"}}, "named", named},
		{"none", setting{flags: []string{"--config="}}, "", ""},
	} {
		c, err := test.set.loadIn(t, dir)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if c.DataDir != test.data || c.Path() != test.path {
			t.Errorf("%s: read %q from %q, want %q from %q", test.name, c.DataDir, c.Path(), test.data, test.path)
		}
	}
}

func TestFlagsMayBeMissing(t *testing.T) {
	t.Parallel()
	for _, fs := range []*pflag.FlagSet{nil, pflag.NewFlagSet("other", pflag.ContinueOnError)} {
		c, err := config.Load(fs, []string{"OUTBOXD_DATA_DIR=/x"}, t.TempDir(), nil)
		if err != nil || c.DataDir != "/x" {
			t.Errorf("with %v: %v", fs, err)
		}
	}
}

func TestFileForms(t *testing.T) {
	t.Parallel()
	queues := value.Queues{"Urgent": 5, "low": 1}
	for name, test := range map[string]struct {
		file string
		want func(c *config.Config) bool
	}{
		"comments only": {"# nothing\n", func(c *config.Config) bool { return c.Path() != "" }},
		"null":          {"~\n", func(c *config.Config) bool { return c.Path() != "" }},
		"keys without values": {"roles:\nrelay:\nlog:\n  level:\n", func(c *config.Config) bool {
			return len(c.Roles) == 4 && c.Log.Level == "info"
		}},
		"empty text is a value":    {"monitor: {addr: ''}", func(c *config.Config) bool { return c.Monitor.Addr == "" }},
		"list of roles":            {"roles: [relay, api]", func(c *config.Config) bool { return c.Roles.String() == "api,relay" }},
		"list of networks":         {"api:\n  trusted_proxies:\n  - 10.0.0.0/8\n  - ::1\n", func(c *config.Config) bool { return c.API.TrustedProxies.String() == "10.0.0.0/8,::1/128" }},
		"map of queues keeps case": {"worker: {queues: {Urgent: 5, low: 1}}", func(c *config.Config) bool { return reflect.DeepEqual(c.Worker.Queues, queues) }},
		"text of queues":           {"worker: {queues: 'Urgent=5, low=1'}", func(c *config.Config) bool { return reflect.DeepEqual(c.Worker.Queues, queues) }},
		"list of queues":           {"worker: {queues: [Urgent=5, low=1]}", func(c *config.Config) bool { return reflect.DeepEqual(c.Worker.Queues, queues) }},
		"off is text":              {"migrate: off", func(c *config.Config) bool { return c.Migrate == config.MigrateOff }},
		"key with a dot":           {"relay.concurrency: 5", func(c *config.Config) bool { return c.Relay.Concurrency == 5 }},
		"aliases":                  {"relay: {concurrency: &n 5}\nworker: {concurrency: *n}\n", func(c *config.Config) bool { return c.Worker.Concurrency == 5 }},
		"size as a number":         {"api: {body_limit: 4096}", func(c *config.Config) bool { return c.API.BodyLimit == 4096 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c := (setting{file: test.file}).mustLoad(t); !test.want(c) {
				t.Errorf("%q gives\n%s", test.file, effective(t, c))
			}
		})
	}
}

// The output of WriteYAML loads again and means the same.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	var all setting
	for _, option := range layeredOptions() {
		if option.key == "notify" || option.key == "smtp.tls" || option.key == "databases" {
			continue // each of them needs other options beside it
		}
		all.flags = append(all.flags, "--"+flagName(option.key)+"="+option.texts[2])
	}
	all.flags = append(all.flags, "--notify=smtp", "--data-dir=off: 'x' # \"y\" é", "--database-max-conns=100", "--smtp-addr=mail.example.com:25")
	c := all.mustLoad(t)
	written := effective(t, c)

	// The secrets, which are masked, come from the environment.
	again := setting{file: written}
	for _, option := range layeredOptions() {
		switch option.want[2].(type) {
		case value.Secret, value.SecretURL:
			again.env = append(again.env, variable(option.key)+"="+option.texts[2])
		}
	}
	if got, want := leaves(again.mustLoad(t)), leaves(c); !reflect.DeepEqual(got, want) {
		t.Errorf("read again:\n%v\nwant\n%v", got, want)
	}
	defaults := effective(t, config.Default())
	if got, want := leaves(setting{file: defaults}.mustLoad(t)), leaves(config.Default()); !reflect.DeepEqual(got, want) {
		t.Errorf("the defaults read again:\n%v\nwant\n%v", got, want)
	}
	if got := strings.Count(defaults, " # default\n") + strings.Count(defaults, " # default; "); got != len(leaves(c)) {
		t.Errorf("%d defaults of %d are marked as such:\n%s", got, len(leaves(c)), defaults)
	}
}

func TestOriginWithNewline(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "a\nroles: api\n.yaml")
	write(t, name, "data_dir: /x\n")
	c, err := setting{flags: []string{"--config=" + name}}.loadIn(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if again := (setting{file: effective(t, c)}).mustLoad(t); len(again.Roles) != 4 {
		t.Errorf("the file's name became configuration:\n%s", effective(t, c))
	}
}

// A pipe into which nobody writes ends the start with a message.
func TestAConfigurationThatNobodyWrites(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (setting{flags: []string{"--config=" + pipe}}).load(t); err == nil || !strings.Contains(err.Error(), "gave nothing within") {
		t.Errorf("got %v", err)
	}
}
