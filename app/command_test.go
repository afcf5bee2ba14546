package app_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"outboxd/app/servertest"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	r := execute(t, nil, "version")
	if want := "outboxd 1.2.3 (0123abc, 2026-01-02T03:04:05Z)\n"; r.stdout != want || r.stderr != "" || r.code != 0 {
		t.Errorf("got %+v, want %q", r, want)
	}
}

// TestFormsOfResults reads back what commands print for machines.
func TestFormsOfResults(t *testing.T) {
	t.Parallel()
	database := "--database-url=" + servertest.Database(t)
	for _, c := range []struct {
		args []string
		says string // the path of a value in JSON
	}{
		{[]string{"version"}, `"version": "1.2.3"`},
		{[]string{"config", "--relay-concurrency=7", "--admin-token=hidden-0123456789"}, `"value": "7",`},
		{[]string{"migrate", "status", database, "--log-level=warn"}, `"applied_at": null`},
	} {
		var fromJSON, fromYAML any
		r := execute(t, nil, append(c.args, "-o=json")...)
		if err := json.Unmarshal([]byte(r.stdout), &fromJSON); err != nil || r.code != 0 || !strings.Contains(r.stdout, c.says) || strings.Contains(r.stdout, "hidden") {
			t.Errorf("%v as JSON: %v, exit code %d\n%s%s", c.args, err, r.code, r.stdout, r.stderr)
		}
		if r := execute(t, nil, append(c.args, "-o=yaml")...); yaml.Unmarshal([]byte(r.stdout), &fromYAML) != nil || r.code != 0 {
			t.Errorf("%v as YAML: exit code %d\n%s%s", c.args, r.code, r.stdout, r.stderr)
		}
		if r := execute(t, nil, append(c.args, "-o=table")...); r.code != 0 || strings.Contains(r.stdout, "{") || strings.Contains(r.stdout, "\x1b") {
			t.Errorf("%v as a table: exit code %d\n%s%s", c.args, r.code, r.stdout, r.stderr)
		}
		if r := execute(t, nil, append(c.args, "-o=xml")...); r.code != 2 || !strings.Contains(r.stderr, "the forms are table, json and yaml") {
			t.Errorf("%v in no form: exit code %d\n%s", c.args, r.code, r.stderr)
		}
	}
	for args, want := range map[string]string{
		"--log-level":         "debug",
		"dead list --stage":   "worker",
		"doctor -o":           "yaml",
		"doctor --log-format": "text",
		"migrate":             "status",
	} {
		r := execute(t, nil, append(append([]string{"__complete"}, strings.Fields(args)...), "")...)
		if !strings.Contains(r.stdout, want+"\t") && !strings.Contains(r.stdout, want+"\n") {
			t.Errorf("after %s the shell offers %q, which lacks %s", args, r.stdout, want)
		}
	}
	if r := execute(t, nil, "completion", "bash"); r.code != 0 || !strings.Contains(r.stdout, "__start_outboxd") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
}

func TestHelpListsCommandsAndFlags(t *testing.T) {
	t.Parallel()
	r := execute(t, nil, "--help")
	for _, want := range []string{"migrate", "config", "version", "completion", "doctor", "--roles", "--relay-concurrency", "--admin-token"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("the help lacks %s", want)
		}
	}
	if r.code != 0 || r.stderr != "" {
		t.Errorf("exit code %d, on stderr %q", r.code, r.stderr)
	}
	if r := execute(t, nil, "dead", "list", "--help"); !strings.Contains(r.stdout, "--since") ||
		!strings.Contains(r.stdout, "--database-url") || strings.Contains(r.stdout, "--relay-concurrency") {
		t.Errorf("the help of a command has more or less than its own flags:\n%s", r.stdout)
	}
}

// TestConfigMasksSecrets gives secrets in a file, in variables and in a flag.
func TestConfigMasksSecrets(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "settings.yaml")
	text := "smtp: {addr: 'mail.example.com:587', username: ada, password: hidden-1}\nwebhook: {secret: whsec_aGlkZGVuMmhpZGRlbjJoaWRkZW4yaGlk}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := execute(t, []string{"DATABASE_URL=postgres://ada:hidden-3@db/outboxd", "OUTBOXD_ADMIN_TOKEN=hidden-4-hidden-4", "OUTBOXD_RELAY_CONCURRENCY=7"},
		"config", "--config="+file, "--redis-url=redis://:hidden-5@queue:6379/2", "--notify=log", "--relay-batch-size=99")
	if r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	for _, secret := range []string{"hidden", "aGlkZGVu"} {
		if strings.Contains(r.stdout+r.stderr, secret) {
			t.Errorf("it shows %s…", secret)
		}
	}
	var got struct {
		Relay struct {
			Concurrency int
			BatchSize   int `yaml:"batch_size"`
		}
		Database struct{ URL string }
		SMTP     struct{ Username string } `yaml:"smtp"`
	}
	if err := yaml.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatalf("it is no YAML: %v", err)
	}
	if got.Relay.Concurrency != 7 || got.Relay.BatchSize != 99 || got.SMTP.Username != "ada" || !strings.Contains(got.Database.URL, "@db/outboxd") {
		t.Errorf("got %+v", got)
	}
	for _, origin := range []string{"OUTBOXD_RELAY_CONCURRENCY", "--relay-batch-size", file, "DATABASE_URL"} {
		if !strings.Contains(r.stdout, origin) {
			t.Errorf("it does not say what came from %s", origin)
		}
	}
	table := execute(t, nil, "config", "-o=table", "--config=").stdout
	for _, said := range []string{r.stdout, table} {
		if !strings.Contains(said, "A running outboxd may have another one.") {
			t.Errorf("it does not say whose configuration this is:\n%s", said)
		}
	}
	if t.Failed() {
		t.Log(r.stdout)
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	database := "--database-url=" + servertest.Database(t)
	// migrate wants a command to succeed and returns what it printed.
	migrate := func(args ...string) string {
		t.Helper()
		r := execute(t, nil, append([]string{"migrate", database, "--log-level=warn"}, args...)...)
		if r.code != 0 || r.stderr != "" {
			t.Fatalf("migrate %v: exit code %d, on stderr %s", args, r.code, r.stderr)
		}
		return r.stdout
	}
	steps := strings.Count(migrate("status"), "pending")
	if steps < 3 {
		t.Fatalf("%d migrations are pending, want at least 3", steps)
	}
	if got := migrate("up"); !strings.Contains(got, fmt.Sprintf("Applied %d migrations", steps)) {
		t.Errorf("up says %q", got)
	}
	if got := migrate("up"); !strings.Contains(got, "Applied 0 migrations") {
		t.Errorf("up once more says %q", got)
	}
	if got := migrate("status"); strings.Contains(got, "pending") || strings.Count(got, "\n") != steps+1 {
		t.Errorf("status says\n%s", got)
	}
	if got := migrate("down", "--yes"); !strings.Contains(got, "Took the newest migration of the schema outboxd back") {
		t.Errorf("down says %q", got)
	}
	if got := migrate("status"); strings.Count(got, "pending") != 1 {
		t.Errorf("after one down, status says\n%s", got)
	}
	for range steps - 1 {
		migrate("down", "--yes")
	}
	if got := migrate("down", "--yes"); !strings.Contains(got, "has no migration to take back") {
		t.Errorf("one down too many says %q", got)
	}
	if got := migrate("up"); !strings.Contains(got, fmt.Sprintf("Applied %d migrations", steps)) {
		t.Errorf("up after all downs says %q", got)
	}
	// The example's schema is made, listed and taken back only with --example=on.
	if r := execute(t, nil, "--roles=api", database, "--migrate=off", "--monitor-addr="); r.code == 0 || !strings.Contains(r.stderr, "migrate up --example=on") {
		t.Errorf("an API without the example's tables: exit code %d, %s", r.code, r.stderr)
	}
	if got := migrate("status", "--example=on"); strings.Count(got, "pending") != 1 || !strings.Contains(got, "outboxd_example ") {
		t.Errorf("status of the example says\n%s", got)
	}
	if got := migrate("up", "--example=on"); !strings.Contains(got, "Applied 1 migration; the schema outboxd_example is up to date") {
		t.Errorf("up with the example says %q", got)
	}
	if got := migrate("status"); strings.Contains(got, "pending") || strings.Count(got, "outboxd_example ") != 1 {
		t.Errorf("status of both says\n%s", got)
	}
	// A daemon with --migrate=off starts on this schema.
	p := start(t, "--roles=api", database, "--migrate=off")
	register(t, p.api, "ada@example.com")
	p.stop()
	if got := migrate("down", "--yes", "--example=on"); !strings.Contains(got, "Took the newest migration of the schema outboxd_example back") {
		t.Errorf("down of the example says %q", got)
	}
	if got := migrate("down", "--yes", "--example=on"); !strings.Contains(got, "The schema outboxd_example has no migration to take back") {
		t.Errorf("down of no example says %q", got)
	}
	if got := migrate("status"); strings.Contains(got, "example") || strings.Contains(got, "pending") {
		t.Errorf("without the example, status says\n%s", got)
	}
}

// TestTheCoreLeavesNoTraceOfTheExample runs all roles except the API on servers that
// belong to another application, and with no setting for mail.
func TestTheCoreLeavesNoTraceOfTheExample(t *testing.T) {
	t.Parallel()
	databaseURL, redisURL := servertest.Database(t), servertest.Redis(t)
	p := start(t, "--roles=relay,worker,monitor", "--database-url="+databaseURL, "--redis-url="+redisURL, "--data-dir="+t.TempDir())
	l := openLedger(t, databaseURL)
	var id string
	l.scan(&id, "SELECT outboxd.emit('email:send_notification', '{}', queue => 'notifications')::text")
	eventually(t, "the event is handed over", func() bool {
		var sent int
		l.scan(&sent, "SELECT count(*) FROM outboxd.outbox_sent WHERE id = $1::text::uuid", id)
		return sent == 1
	})
	p.stop()
	var traces string
	l.scan(&traces, `SELECT coalesce(string_agg(c.oid::regclass::text, ', '), '') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname LIKE '%example%' OR c.relname IN ('users', 'notifications', 'idempotency_keys')`)
	var schemas int
	l.scan(&schemas, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE '%example%'")
	if traces != "" || schemas != 0 {
		t.Errorf("the core left %d schemas and %q of the example", schemas, traces)
	}
	if log := p.log.String(); !strings.Contains(log, "--example=on") {
		t.Error("the worker does not say that it has no handler")
	}
	var dead int
	l.scan(&dead, "SELECT count(*) FROM outboxd.outbox_dead")
	if dead != 0 {
		t.Error("a task without a handler was given up")
	}
}
