package app_test

import (
	"encoding/json"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

func TestVerifyFindsWhatIsMissing(t *testing.T) {
	t.Parallel()
	url, redis := schematest.Database(t), servertest.Redis(t)
	run := func(args ...string) result {
		return execute(t, nil, append(args, "--database-url="+url, "--redis-url="+redis)...)
	}
	db := schematest.Connect(t, url).SQL()
	exec := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	violations := func(want int) []string {
		t.Helper()
		r := run("verify", "-o", "json")
		var document struct {
			Account    []map[string]any
			Violations []struct{ ID, Broken, Detail string }
		}
		if err := json.Unmarshal([]byte(r.stdout), &document); err != nil {
			t.Fatalf("%v: %s %s", err, r.stdout, r.stderr)
		}
		var list []string
		for _, v := range document.Violations {
			list = append(list, v.ID+" "+v.Broken+": "+v.Detail)
		}
		if code := min(want, 1); len(list) != want || r.code != code {
			t.Fatalf("exit code %d, %d violations, want %d, %d: %q %s", r.code, len(list), code, want, list, r.stderr)
		}
		return list
	}

	// The places where events may be. An event that was handed over within the last minute need not be
	// in Redis yet.
	exec("SELECT outboxd.emit('test:a', '{}') FROM generate_series(1, 10)")
	exec("SELECT outboxd.emit('test:b', '{}', ordering_key => 'k') FROM generate_series(1, 2)")
	exec("SELECT outboxd.emit('test:sent', '{}')")
	exec(`WITH gone AS (DELETE FROM outbox WHERE event_type = 'test:sent' RETURNING *)
	      INSERT INTO outbox_sent SELECT (jsonb_populate_record(NULL::outbox_sent, to_jsonb(gone) || jsonb_build_object('sent_at', now()))).* FROM gone`)
	violations(0)
	if r := run("verify"); r.code != 0 || !strings.Contains(r.stdout, "Every event is accounted for.") {
		t.Errorf("%+v", r)
	}

	for _, sent := range []string{"- interval '2 minutes'", "+ interval '10 seconds'"} { // the clock may have been set back
		exec("UPDATE outbox_sent SET sent_at = now() " + sent)
		if list := violations(1); !strings.Contains(list[0], "neither in Redis nor confirmed") || strings.HasPrefix(list[0], " ") {
			t.Errorf("a task that Redis does not have, sent now() %s: %q", sent, list)
		}
	}
	exec("SELECT outboxd.confirm(id) FROM outbox_sent")
	violations(0)

	exec("DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE event_type = 'test:a' LIMIT 2)")
	if list := violations(1); !strings.Contains(list[0], "2 events of test:a") || !strings.Contains(list[0], "nowhere") {
		t.Errorf("two events that were deleted: %q", list)
	}
	exec("SET outboxd.moving = 'on'; SELECT outboxd.emit('test:a', '{}') FROM generate_series(1, 2); RESET outboxd.moving")
	violations(0)
	exec(schematest.DeadOf("e") + "FROM outbox o WHERE o.event_type = 'test:a' LIMIT 1")
	if list := violations(2); !strings.Contains(list[1], "in more than one place") {
		t.Errorf("an event in two places: %q", list)
	}

	// If PostgreSQL went back and a task has no event any more, verify reports it. That alone is no
	// violation.
	const gone = "01980000-0000-7000-8000-000000000000"
	exec("INSERT INTO outbox_journal (event_id, stage, entry, generation) VALUES ('" + gone + "', 'worker', 'unknown', 0), ('" + gone + "', 'worker', 'unknown', 0)")
	exec("DELETE FROM outbox_dead")
	violations(0)
	if r := run("verify"); r.code != 0 || !strings.Contains(r.stdout, "TASK WITHOUT EVENT") || strings.Count(r.stdout, gone) != 1 {
		t.Errorf("a task without an event: %+v", r)
	}
	var document struct {
		Tasks []struct{ ID, At string } `json:"tasks_without_event"`
	}
	if err := json.Unmarshal([]byte(run("verify", "-o", "json").stdout), &document); err != nil || len(document.Tasks) != 1 || document.Tasks[0].ID != gone || document.Tasks[0].At == "" {
		t.Errorf("as JSON: %+v, %v", document, err)
	}
}
