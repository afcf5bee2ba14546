package app_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

// TestEventsByCommand emits events by command, and lists them.
func TestEventsByCommand(t *testing.T) {
	t.Parallel()
	const failed, usage = 1, 2
	servers := on(schematest.Database(t), servertest.Redis(t), t.TempDir())
	run := func(code int, args ...string) result {
		t.Helper()
		r := execute(t, nil, append(args, servers...)...)
		if r.code != code {
			t.Fatalf("%v: exit code %d, want %d\n%s%s", args, r.code, code, r.stdout, r.stderr)
		}
		return r
	}
	file := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(file, []byte("\x00not JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	first := strings.TrimSpace(run(0, "events", "emit", "report:build", `--payload={"n": 1}`, "--queue=low", "--header=tenant=acme", "--available-in=1h", "--max-retry=0").stdout)
	var emitted struct{ ID, Queue, Key string }
	if err := json.Unmarshal([]byte(run(0, "events", "emit", "raw:bytes", "--payload=@"+file, "--raw", "--key=account-1", "-o=json").stdout), &emitted); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		args []string
		says []string
	}{
		{0, []string{"list"}, []string{first, emitted.ID, "report:build", "account-1", "pending", "not due yet"}},
		{0, []string{"list", "--limit=1"}, []string{emitted.ID, "There may be more: --after " + emitted.ID}},
		{0, []string{"list", "--limit=1", "--after=" + emitted.ID}, []string{first}},
		{0, []string{"list", "--header=tenant=acme", "--queue=low", "--type=report:build", "--since=1h", "--state=pending"}, []string{first}},
		{0, []string{"list", "--key=account-2"}, []string{"No events."}},
		{0, []string{"list", "--not-state=confirmed", "--not-state=in-flight"}, []string{first}},
		{0, []string{"list", "--not-state=confirmed", "--not-state=pending", "--not-state="}, []string{"No events."}},
		{usage, []string{"list", "--not-state=lost"}, []string{"--not-state: ", "is not a state"}},
		{usage, []string{"cancel", "--not-state=confirmed", "--yes"}, []string{"unknown flag: --not-state"}},
		{0, []string{"list", "--until=1h"}, []string{"No events."}},
		{0, []string{"list", "-o=yaml", "--state=dead"}, []string{"events: []", "gave_up: false"}},
		{0, []string{"show", first}, []string{`{"n": 1}`, "tenant: acme", "pending: due at", "  due "}},
		{0, []string{"reschedule", first, "--in=2h", "--yes", "--reason=not yet", "-o=json"}, []string{`"changed": 1`, `"rescheduled": 1`}},
		{0, []string{"show", first}, []string{"rescheduled (person)", ": not yet"}},
		{usage, []string{"cancel", "--header=tenant=acme"}, []string{"1 event matches", "say --yes"}},
		{0, []string{"cancel", "--header=tenant=acme", "--yes", "--as=ada"}, []string{"Cancelled 1 of 1 event"}},
		{failed, []string{"cancel", first, "01980000-0000-7000-8000-000000000000", "--yes"}, []string{"Cancelled 1 of 2 events", "is not known", "1 of 2 events could not be cancelled"}},
		{0, []string{"list", "--state=cancelled"}, []string{first, " for ada"}},
		{0, []string{"show", first}, []string{" for ada", "takes no effect"}},
		{usage, []string{"cancel"}, []string{"say which events"}},
		{usage, []string{"cancel", "--queue=*", "--header=", "--yes"}, []string{"say which events"}},
		{usage, []string{"cancel", "--header==x", "--yes"}, []string{"names no header: write name, or name=value"}},
		{usage, []string{"list", "--not-header==x"}, []string{"--not-header: ", "names no header"}},
		{0, []string{"list", "--header=tenant=acme", "--not-header=tenant=acme"}, []string{"No events."}},
		{0, []string{"list", "--header=tenant=acme", "--not-field=n=1"}, []string{"No events."}},
		{0, []string{"list", "--header=tenant=acme", "--not-field=n=2", "--not-field=m"}, []string{first}},
		{usage, []string{"erase", "--not-type=", "--not-error=", "--not-field=", "--not-key=", "--not-header=", "--yes"}, []string{"say which events"}},
		{usage, []string{"reschedule", "--in=1h", "--not-type=", "--yes"}, []string{"say which events"}},
		{usage, []string{"cancel", first, "--type=x"}, []string{"exclude each other"}},
		{usage, []string{"reschedule", first}, []string{"--at or --in"}},
		{usage, []string{"reschedule", first, "--at=soon"}, []string{"--at", "is not a time"}},
		{0, []string{"erase", first, "--yes", "--as=bob"}, []string{"Erased 1 of 1 event"}},
		{0, []string{"show", first}, []string{" for ada", "erased (person)", " for bob"}},
		{0, []string{"list", "--header=tenant=acme"}, []string{"No events."}},
		{usage, []string{"list", "--state=lost"}, []string{"the states are"}},
		{usage, []string{"list", "--since=yesterday"}, []string{"--since", "is not a time"}},
		{usage, []string{"list", "--after=x"}, []string{"--after", "not a UUID"}},
		{usage, []string{"list", "--limit=0"}, []string{"from 1 to"}},
		{usage, []string{"emit"}, []string{"takes one event type"}},
		{usage, []string{"emit", "a", "--payload=x"}, []string{"not JSON", "--raw"}},
		{usage, []string{"emit", "a", "--header=x"}, []string{"name=value"}},
		{usage, []string{"emit", "a", "--available-in=-1h"}, []string{"--available-in must not be negative"}},
		{failed, []string{"emit", "a", "--payload=@" + file + ".not"}, []string{"read the payload"}},
		{failed, []string{"emit", "a", "--key= "}, []string{`the outbox refuses the event: OrderingKey is " "`}},
	} {
		r := run(c.code, append([]string{"events"}, c.args...)...)
		for _, want := range c.says {
			if !strings.Contains(r.stdout+r.stderr, want) {
				t.Errorf("%v does not say %q:\n%s%s", c.args, want, r.stdout, r.stderr)
			}
		}
	}
	var payload string
	openLedger(t, strings.TrimPrefix(servers[0], "--database-url=")).scan(&payload, "SELECT encode(payload, 'escape') FROM outbox WHERE id = '"+emitted.ID+"'")
	if payload != `\000not JSON` {
		t.Errorf("the payload is %q", payload)
	}
}
