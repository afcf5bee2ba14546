package app_test

import (
	"encoding/json"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

type deadList struct {
	DeadLetters []struct {
		ID, Type, Stage, Error string
		FirstError             string `json:"first_error" yaml:"first_error"`
		Attempts               int
	} `json:"dead_letters" yaml:"dead_letters"`
}

// TestDeadLettersByCommand kills events with a real relay and worker, and brings them back by command.
func TestDeadLettersByCommand(t *testing.T) {
	t.Parallel()
	const failed, usage = 1, 2
	servers := on(schematest.Database(t), servertest.Redis(t), t.TempDir())
	p := start(t, servers...)
	db := schematest.Connect(t, strings.TrimPrefix(servers[0], "--database-url=")).SQL()
	register(t, p.api, "ada@example.com")
	for range 3 {
		if _, err := db.ExecContext(t.Context(), `SELECT outboxd.emit('email:send_notification', '{}', headers => '{"k": "v"}', queue => 'notifications')`); err != nil {
			t.Fatal(err)
		}
	}
	// run wants a command to end with a code and returns what it printed.
	run := func(code int, args ...string) result {
		t.Helper()
		r := execute(t, nil, append(args, servers...)...)
		if r.code != code {
			t.Fatalf("%v: exit code %d, want %d\n%s%s", args, r.code, code, r.stdout, r.stderr)
		}
		return r
	}
	count := func(query string) (n int) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	eventually(t, "three events are dead", func() bool { return count("SELECT count(*) FROM outbox_dead") == 3 })

	var list, same deadList
	if err := json.Unmarshal([]byte(run(0, "dead", "list", "-o=json", "--stage=worker", "--error=NEEDS user_id").stdout), &list); err != nil || len(list.DeadLetters) != 3 {
		t.Fatalf("dead list: %+v, %v, want three", list, err)
	}
	if err := yaml.Unmarshal([]byte(run(0, "dead", "list", "-o=yaml").stdout), &same); err != nil || len(same.DeadLetters) != 3 || same.DeadLetters[0] != list.DeadLetters[0] {
		t.Errorf("as YAML: %+v, %v, want %+v", same, err, list)
	}
	id := list.DeadLetters[0].ID
	for _, c := range []struct {
		code int
		args []string
		says []string
	}{
		{0, []string{"dead", "list", "--limit=2"}, []string{"ID ", id, "worker", "needs user_id", "--after "}},
		{0, []string{"dead", "list", "--limit=1", id, list.DeadLetters[1].ID}, []string{id, "--after "}},
		{failed, []string{"dead", "list", id, "01980000-0000-7000-8000-000000000000"}, []string{id, "not among the dead letters that were asked for: 1 of the 2 events named"}},
		{0, []string{"dead", "list", "--type=other"}, []string{"No dead letters."}},
		{0, []string{"dead", "show", id}, []string{"First error", "enqueued", "task " + id + " in queue notifications", "died (worker)", "attempt 1: ", "2 bytes: {}", "k: v"}},
		{0, []string{"events", "show", id}, []string{"dead, given up by the worker", "emitted", "archived", "0 of 25 retries: the payload needs user_id", "up to 25: Asynq's default"}},
		{failed, []string{"dead", "show", "01980000-0000-7000-8000-000000000000"}, []string{"not a dead letter"}},
		{failed, []string{"events", "show", "01980000-0000-7000-8000-000000000000"}, []string{"there is no event"}},
		{failed, []string{"dead", "discard", "01980000-0000-7000-8000-000000000000", "--yes"}, []string{"not among the dead letters that were asked for: 1 of the 1 events named", "events show"}},
		{usage, []string{"events", "show"}, []string{"takes one event ID"}},
		{usage, []string{"dead", "show", "x"}, []string{"not a UUID"}},
		{usage, []string{"dead", "list", "-o=xml"}, []string{"table, json and yaml"}},
		{usage, []string{"dead", "list", "--stage=nobody"}, []string{"relay, worker and person"}},
		{usage, []string{"dead", "list", "--since=yesterday"}, []string{"--since: ", "is not a time"}},
		{usage, []string{"dead", "replay", "--since=1h"}, []string{"3 dead letters match"}},
		{0, []string{"dead", "replay", "--until=2020-01-01T00:00Z"}, []string{"No dead letter matches; nothing to do."}},
		{usage, []string{"dead", "list", "--after=x"}, []string{"not a place"}},
		{usage, []string{"dead", "replay", "--yes"}, []string{"--all"}},
		{usage, []string{"dead", "replay", "--type=*", "--yes"}, []string{"say which dead letters"}},
		{usage, []string{"dead", "discard", "--error=", "--until=0s", "--yes"}, []string{"say which dead letters"}},
		{usage, []string{"dead", "discard", "--header==x", "--yes"}, []string{"names no header: write name, or name=value"}},
		{usage, []string{"dead", "discard", "--not-type=", "--not-error=", "--not-field=", "--not-key=", "--not-header=", "--yes"}, []string{"say which dead letters"}},
		{usage, []string{"dead", "discard", "--not-field==x", "--yes"}, []string{"--not-field: ", "is no field of a payload"}},
		{0, []string{"dead", "replay", "--not-header=k=v"}, []string{"No dead letter matches; nothing to do."}},
		{usage, []string{"dead", "replay", "--not-key=k", "--not-header=k=w"}, []string{"3 dead letters match"}},
		{0, []string{"dead", "replay", "--not-field=user_id", "--field=user_id"}, []string{"No dead letter matches; nothing to do."}},
		{usage, []string{"dead", "replay", "--not-field=user_id=1*", "--not-field=none"}, []string{"3 dead letters match"}},
		{usage, []string{"dead", "replay", "--all"}, []string{"3 dead letters match", "say --yes to replay them"}},
		{0, []string{"dead", "replay", "--type=other"}, []string{"No dead letter matches; nothing to do."}},
		{0, []string{"dead", "discard", "--type=other", "--yes"}, []string{"No dead letter matches; nothing to do."}},
		{0, []string{"events", "cancel", "--type=email:*"}, []string{"No event that matches can be cancelled; nothing to do."}},
		{0, []string{"events", "retry", "--type=other"}, []string{"No failing event matches; nothing to do."}},
		{0, []string{"events", "give-up", "--type=other", "--yes"}, []string{"No failing event matches; nothing to do."}},
		{usage, []string{"dead", "replay", "--all", "--type=x", "--yes"}, []string{"--all"}},
		{usage, []string{"dead", "discard", "--all=false", "--yes"}, []string{"--all"}},
		{usage, []string{"redrive"}, []string{"--since is required"}},
		{usage, []string{"redrive", "--since=9999h"}, []string{"--relay-inbox-retention"}},
		{0, []string{"redrive", "--since=1h", "--dry-run"}, []string{"0 events were handed"}},
		{0, []string{"redrive", "--since=1h"}, []string{"0 events were handed"}},
		{usage, []string{"redrive", id}, []string{"say --yes to send them again"}},
		{0, []string{"redrive", "--since=1h", "--yes"}, []string{"Sent 0 events again"}},
		{0, []string{"redrive", "--missing", "--dry-run"}, []string{"0 events are not confirmed and have no task"}},
		{0, []string{"redrive", "--missing"}, []string{"0 events are not confirmed and have no task"}},
		{0, []string{"redrive", "--missing", "--yes"}, []string{"Sent 0 events again"}},
		{usage, []string{"redrive", "--missing", "--since=1h"}, []string{"exclude each other"}},
		{usage, []string{"redrive", "x"}, []string{"not a UUID"}},
		{0, []string{"redrive", "01980000-0000-7000-8000-000000000000", "--yes"}, []string{"Sent 0 events again"}},
	} {
		r := run(c.code, c.args...)
		for _, want := range c.says {
			if !strings.Contains(r.stdout+r.stderr, want) {
				t.Errorf("%v does not say %q:\n%s%s", c.args, want, r.stdout, r.stderr)
			}
		}
	}
	if n := count("SELECT count(*) FROM outbox_dead"); n != 3 {
		t.Fatalf("%d dead letters are left after commands that change nothing, want 3", n)
	}
	if n := count("SELECT count(*) FROM outbox_actions WHERE action = 'discard'"); n != 0 {
		t.Errorf("a discard of no dead letter was recorded")
	}

	// The canary dies again, and the others stay where they are.
	if r := run(failed, "dead", "replay", "--all", "--canary=1", "--yes"); !strings.Contains(r.stderr, "the canary failed") {
		t.Errorf("the canary says %s", r.message())
	}
	if r := run(0, "actions", "list"); !strings.Contains(r.stdout, "  stopped: the canary failed: 1 of 1 events died again") {
		t.Errorf("the record says\n%s", r.stdout)
	}
	if n := count("SELECT count(*) FROM outbox_dead WHERE generation = 0"); n != 2 {
		t.Errorf("%d dead letters were left alone, want 2", n)
	}
	// The cause is mended: the payload is now valid.
	const mend = `UPDATE outbox_dead SET payload = convert_to((SELECT json_build_object('user_id', user_id, 'notification_id', id, 'notification_type', type)::text
		FROM outboxd_example.notifications LIMIT 1), 'UTF8')`
	if _, err := db.ExecContext(t.Context(), mend+" WHERE id <> '"+id+"'"); err != nil {
		t.Fatal(err)
	}
	r := run(0, "dead", "discard", id, "--yes", "--reason=hopeless", "--as=ada@example.com")
	if !strings.Contains(r.stdout, "Discarded 1 of 1") {
		t.Errorf("discard says %s", r.stdout)
	}
	if r := run(0, "dead", "replay", "--all", "--canary=1", "--rate=50", "--yes"); !strings.Contains(r.stdout, "1 confirmed") || !strings.Contains(r.stdout, "Replayed 2 of 2") {
		t.Errorf("replay says %s", r.stdout)
	}
	if n := count(`SELECT count(*) FROM outbox_actions WHERE filter = '{"all": "true", "canary": "1", "rate": "50"}'`); n != 1 {
		t.Errorf("%d replays are recorded with their canary and rate, want one", n)
	}
	eventually(t, "the replayed events took effect", func() bool { return count("SELECT count(*) FROM inbox") == 3 })
	if n := count("SELECT count(*) FROM outbox_actions WHERE actor LIKE '%@% for ada@example.com' AND action = 'discard' AND reason = 'hopeless' AND events = 1"); n != 1 {
		t.Errorf("%d discards are recorded, want one", n)
	}
	if r := run(0, "events", "show", id); !strings.Contains(r.stdout, "for ada@example.com: hopeless") || !strings.Contains(r.stdout, "discarded (person)") {
		t.Errorf("of the discarded event:\n%s", r.stdout)
	}
	p.stop()
}

// A person finds out which values a payload field has, and gets the flag that chooses each of them.
func TestDeadLettersAreGroupedByCommand(t *testing.T) {
	t.Parallel()
	servers := on(schematest.Database(t), servertest.Redis(t), t.TempDir())
	db := schematest.Connect(t, strings.TrimPrefix(servers[0], "--database-url=")).SQL()
	for _, statement := range []string{
		`SELECT outboxd.emit('parcel:announce', payload) FROM unnest(ARRAY['{"carrier": "dhl", "to": {"city": "Bonn"}}', '{"carrier": "dhl"}', '{"carrier": "u p s"}', '{"carrier": {}}', '{}', '{"carrier": "dhl\n"}']::jsonb[]) AS payload`,
		schematest.DeadOf("error 1") + "FROM outbox o",
		"DELETE FROM outbox",
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	group := func(args ...string) result {
		return execute(t, nil, append(append([]string{"dead", "group"}, args...), servers...)...)
	}
	for _, c := range []struct {
		args []string
		says []string
	}{
		{nil, []string{"COUNT  TYPE ", "6      parcel:announce  relay  ", "  error #\n"}},
		{[]string{"--by-field=carrier"}, []string{"COUNT  VALUE ", "2      dhl  ", "--field 'carrier=dhl'\n", "1      u p s  ", `1      "dhl\n"  `, "--field 'carrier=u p s'\n", "an object or a list  ", "no value  ", "  --not-field carrier\n"}},
		{[]string{"--by-field=to.city", "--field=carrier=dhl"}, []string{"1      Bonn  ", "1      no value  "}},
		{[]string{"--by-field=carier"}, []string{"No payload has a value in the field carier. These have: carrier, to.city\n"}},
		{[]string{"--by-field=carrier", "--type=none"}, []string{"No dead letters.\n"}},
		{[]string{"--by-field="}, []string{"--by-field: "}},
		{[]string{"--by-field=carrier=dhl"}, []string{"--by-field: ", "is not the name of a payload field alone"}},
	} {
		r := group(c.args...)
		for _, want := range c.says {
			if !strings.Contains(r.stdout+r.stderr, want) {
				t.Errorf("%v does not say %q:\n%s%s", c.args, want, r.stdout, r.stderr)
			}
		}
	}
	var document struct {
		Groups []struct {
			Value *string
			Kind  string
			Count int
		}
		Grouped int
		More    bool
	}
	if err := json.Unmarshal([]byte(group("--by-field=carrier", "-o=json").stdout), &document); err != nil || len(document.Groups) != 5 || document.Grouped != 6 || document.More {
		t.Fatalf("%+v, %v", document, err)
	}
	if first := document.Groups[0]; first.Value == nil || *first.Value != "dhl" || first.Count != 2 || first.Kind != "" {
		t.Errorf("%+v", first)
	}
}

// One dead letter that the outbox refuses is named; the rest is replayed.
func TestARefusedReplayIsNamed(t *testing.T) {
	t.Parallel()
	servers := on(schematest.Database(t), servertest.Redis(t), t.TempDir())
	db := schematest.Connect(t, strings.TrimPrefix(servers[0], "--database-url=")).SQL()
	for _, statement := range []string{
		"SELECT outboxd.emit('test:a', '{}') FROM generate_series(1, 3)",
		schematest.DeadOf("no") + "FROM outbox o",
		"DELETE FROM outbox",
		"UPDATE outbox_dead SET queue = ' ' WHERE id = (SELECT id FROM outbox_dead ORDER BY id LIMIT 1)",
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	var bad string
	if err := db.QueryRowContext(t.Context(), "SELECT id FROM outbox_dead WHERE queue = ' '").Scan(&bad); err != nil {
		t.Fatal(err)
	}
	r := execute(t, nil, append([]string{"dead", "replay", "--all", "--yes", "-o=json"}, servers...)...)
	var document struct {
		Changed int
		Refused []struct{ ID, Error string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &document); err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
	if r.code != 1 || document.Changed != 2 || len(document.Refused) != 1 || document.Refused[0].ID != bad || !strings.Contains(document.Refused[0].Error, "outbox_queue_is_not_blank") {
		t.Errorf("exit code %d, %+v; %s", r.code, document, r.stderr)
	}
	if !strings.Contains(r.stderr, bad) {
		t.Errorf("the event is not named: %s", r.stderr)
	}
}
