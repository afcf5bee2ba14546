package app_test

import (
	"strings"
	"testing"

	"outboxd/app/servertest"
)

func TestThePayloadLimitIsConfigured(t *testing.T) {
	t.Parallel()
	database := "--database-url=" + servertest.Database(t)
	for _, test := range []struct {
		limit string
		want  bool
	}{{"", false}, {"4MiB", true}, {"4MiB", false}, {"", false}} {
		r := execute(t, nil, "migrate", "up", "--example=on", database, "--relay-max-payload="+test.limit)
		if got := strings.Contains(r.stdout, "payloads of up to 4MiB"); r.code != 0 || got != test.want {
			t.Errorf("migrate up with the limit %q: exit code %d, said %q, %s", test.limit, r.code, r.stdout, r.stderr)
		}
	}
	api := func(args ...string) *process { return start(t, append(args, database, "--roles=api")...) }
	p := api("--migrate=off", "--relay-max-payload=512KiB")
	if line := p.awaitLog("the outbox has another payload limit"); line["configured"] != "512KiB" || line["in_force"] != "4MiB" {
		t.Errorf("warned %v", line)
	}
	p.stop()
	p = api("--relay-max-payload=512KiB")
	p.awaitLog("changed the payload limit")
	p.stop()
	p = api("--migrate=off", "--relay-max-payload=512KiB")
	p.stop()
	if log := p.log.String(); strings.Contains(log, "payload limit") {
		t.Errorf("warned of a limit that is in force: %s", log)
	}
	if r := execute(t, nil, "migrate", "up", database, "--relay-max-payload=65MiB"); r.code == 0 || !strings.Contains(r.stderr, "give 1KiB to 64MiB") {
		t.Errorf("65 MiB: exit code %d, %s", r.code, r.stderr)
	}
}
