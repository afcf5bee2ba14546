package app_test

import (
	"encoding/json"
	"strings"
	"testing"

	"outboxd/app/schematest"
)

// TestHeldKeysByCommand lists a key that a dead letter holds and one that waits for a delayed event.
func TestHeldKeysByCommand(t *testing.T) {
	t.Parallel()
	url := "--database-url=" + schematest.Database(t)
	run := func(args ...string) result { return execute(t, nil, append(args, url)...) }
	if r := run("keys", "list"); r.code != 0 || !strings.Contains(r.stdout, "No held keys.") {
		t.Errorf("of an empty outbox: %d %s%s", r.code, r.stdout, r.stderr)
	}
	db := schematest.Connect(t, strings.TrimPrefix(url, "--database-url=")).SQL()
	for _, statement := range []string{
		`SELECT outboxd.emit('test:held', '{}', ordering_key => 'dead') FROM generate_series(1, 3)`,
		`SELECT outboxd.emit('test:held', '{}', ordering_key => 'late', available_at => '2100-01-01Z') FROM generate_series(1, 2)`,
		`INSERT INTO outbox_turns SELECT ordering_key, id FROM outbox WHERE ordering_key = 'dead' ORDER BY ordering_position LIMIT 1`,
		`INSERT INTO outbox_held SELECT (jsonb_populate_record(NULL::outbox_held, to_jsonb(o) || '{"held_at":"2026-01-01Z"}')).* FROM outbox o
			WHERE EXISTS (SELECT FROM outbox e WHERE e.ordering_key = o.ordering_key AND e.ordering_position < o.ordering_position)`,
		`DELETE FROM outbox WHERE id IN (SELECT id FROM outbox_held)`,
		schematest.DeadOf("too heavy") + "FROM outbox o JOIN outbox_turns t ON t.event_id = o.id WHERE t.ordering_key = 'dead'",
		`DELETE FROM outbox WHERE available_at < now()`,
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	var list struct {
		Complete bool
		Keys     []struct {
			Key, Since, Reason string
			Held               int
			Turn               struct{ ID, State, Due, Error string }
		}
	}
	if r := run("keys", "list"); !strings.Contains(r.stdout, "until it is replayed or discarded: outboxd dead show ") {
		t.Errorf("what to do about the dead letter: %s%s", r.stdout, r.stderr)
	}
	r := run("keys", "list", "-o=json")
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || len(list.Keys) != 2 || !list.Complete {
		t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
	}
	dead, late := list.Keys[0], list.Keys[1]
	if dead.Key != "dead" || dead.Held != 2 || dead.Since != "2026-01-01T00:00:00Z" || dead.Turn.State != "dead" || dead.Turn.Error != "too heavy" ||
		!strings.Contains(dead.Reason, "dead letter since ") {
		t.Errorf("the key that a dead letter holds: %+v", dead)
	}
	if late.Key != "late" || late.Held != 1 || late.Turn.State != "pending" || late.Turn.Due != "2100-01-01T00:00:00Z" || late.Reason != "delayed until 2100-01-01 00:00:00 UTC" {
		t.Errorf("the key that waits for a delayed event: %+v", late)
	}
	if r := run("keys", "list", "late"); !strings.Contains(r.stdout, late.Turn.ID) || strings.Contains(r.stdout, "too heavy") {
		t.Errorf("of one key:\n%s%s", r.stdout, r.stderr)
	}
	for _, want := range []string{"Held          2", "too heavy", "State         dead", "outboxd dead replay " + dead.Turn.ID, "outboxd events list --state held --key dead"} {
		if r := run("keys", "show", "dead"); r.code != 0 || !strings.Contains(r.stdout, want) {
			t.Errorf("of a key that a dead letter holds, without %q: %d\n%s%s", want, r.code, r.stdout, r.stderr)
		}
	}
	if r := run("keys", "show", "nobody's"); r.code == 0 || !strings.Contains(r.stderr, "no event of the ordering key") {
		t.Errorf("of a key that holds nothing: %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := run("keys", "list", "--limit=1"); !strings.Contains(r.stdout, "There may be more") || strings.Contains(r.stdout, late.Turn.ID) {
		t.Errorf("one key:\n%s%s", r.stdout, r.stderr)
	}
	if r := run("keys", "list", "--limit=0"); r.code != 2 || !strings.Contains(r.stderr, "from 1 to 10000") {
		t.Errorf("--limit=0: %d %s", r.code, r.stderr)
	}
}
