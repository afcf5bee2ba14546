package app_test

import (
	"encoding/json"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

// TestEveryRoleWithItsOwnGrants runs each role of the process, and the commands, with the database role that
// deploy/postgres has for it and nothing more.
func TestEveryRoleWithItsOwnGrants(t *testing.T) {
	t.Parallel()
	as, redis, dataDir := schematest.RoleDatabase(t), servertest.Redis(t), t.TempDir()
	schematest.ExampleRoles(t, as)
	with := func(role string) []string { return append(on(as("outboxd_"+role), redis, dataDir), "--migrate=off") }
	processes := map[string]*process{}
	for _, role := range []string{"relay", "worker", "api", "monitor"} {
		processes[role] = start(t, append(append(with(role), "--roles="+role), map[string][]string{"worker": {"--example=on"}}[role]...)...)
	}
	awaitSent(t, processes["api"].api, register(t, processes["api"].api, "ada@example.com"))

	admin := schematest.Connect(t, as(""))
	if _, err := admin.SQL().ExecContext(t.Context(), "CREATE ROLE orders LOGIN IN ROLE outboxd_producer"); err != nil {
		t.Fatal(err)
	}
	orders := schematest.Connect(t, as("orders"))
	if _, err := orders.SQL().ExecContext(t.Context(), "SELECT outboxd.emit('email:send_notification', '{}', queue => 'notifications')"); err != nil {
		t.Fatal(err)
	}
	// The payload has no recipient, so the worker gives the event up.
	var list deadList
	eventually(t, "the monitor's role sees the dead letter", func() bool {
		r := execute(t, nil, append([]string{"dead", "list", "-o=json"}, with("monitor")...)...)
		return r.code == 0 && json.Unmarshal([]byte(r.stdout), &list) == nil && len(list.DeadLetters) == 1
	})
	for _, c := range []struct {
		role string
		code int
		args []string
	}{
		{"monitor", 0, []string{"verify"}},
		{"monitor", 0, []string{"events", "show", list.DeadLetters[0].ID}},
		{"monitor", 1, []string{"dead", "discard", "--all", "--yes"}},
		{"operator", 0, []string{"dead", "replay", "--all", "--yes", "--reason=to see whether it may"}},
		{"operator", 0, []string{"redrive", "--since=1h", "--yes"}},
		{"operator", 0, []string{"redrive", "--missing", "--yes"}},
	} {
		r := execute(t, nil, append(c.args, with(c.role)...)...)
		if r.code != c.code {
			t.Errorf("%s: %v: exit code %d, want %d\n%s%s", c.role, c.args, r.code, c.code, r.stdout, r.stderr)
		}
	}
	eventually(t, "the replayed event is dead again", func() bool {
		r := execute(t, nil, append([]string{"dead", "list", "-o=json"}, with("operator")...)...)
		return r.code == 0 && json.Unmarshal([]byte(r.stdout), &list) == nil && len(list.DeadLetters) == 1
	})
	for role, p := range processes {
		p.stop()
		if log := p.log.String(); strings.Contains(log, "42501") || strings.Contains(log, "permission denied") {
			t.Errorf("%s misses a right:\n%s", role, log)
		}
	}
}
