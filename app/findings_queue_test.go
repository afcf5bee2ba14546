package app_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/hibiken/asynq"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/postgrestest"
	"outboxd/app/servertest/redistest"
)

// TestFindingsOfRedis archives a task, lets the backlog grow, and empties Redis. doctor says each, and that it is over.
func TestFindingsOfRedis(t *testing.T) {
	t.Parallel()
	databaseURL, redis := schematest.Database(t), redistest.Start(t)
	servers := on(databaseURL, redis.URL(), t.TempDir())
	db := openLedger(t, databaseURL)
	exec := func(statement string) {
		t.Helper()
		if _, err := db.conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	says := func(code string) (text string) {
		t.Helper()
		var d examination
		r := execute(t, nil, append([]string{"doctor", "-o=json"}, servers...)...)
		if err := json.Unmarshal([]byte(r.stdout), &d); err != nil {
			t.Fatalf("it says %s%s: %v", r.stdout, r.stderr, err)
		}
		for _, f := range d.Findings {
			if f.Code == code {
				return f.Found
			}
		}
		return ""
	}
	for _, code := range []string{"tasks-archived", "backlog-growing", "healed"} {
		if said := says(code); said != "" {
			t.Errorf("at first it says %s: %s", code, said)
		}
	}
	p := start(t, append([]string{"--roles=relay", "--redis-check-interval=200ms"}, servers...)...)
	exec(`SELECT outboxd.emit('test:lonely', '{}', queue => 'lonely') FROM generate_series(1, 2)`)
	inspector := asynq.NewInspectorFromRedisClient(openRedis(t, redis.URL()))
	pending := func() int {
		tasks, _ := inspector.ListPendingTasks("lonely")
		return len(tasks)
	}
	eventually(t, "two events are handed over", func() bool { return pending() == 2 })
	tasks, err := inspector.ListPendingTasks("lonely")
	if err != nil {
		t.Fatal(err)
	}
	if err := inspector.ArchiveTask("lonely", tasks[0].ID); err != nil {
		t.Fatal(err)
	}
	if said := says("tasks-archived"); said != "1 task is archived in Redis" {
		t.Errorf("of an archived task it says %q", said)
	}
	// The leader makes a dead letter of the archived task, and a person discards the dead letter.
	eventually(t, "the archived task has a dead letter", func() bool {
		tag, err := db.conn.Exec(t.Context(), "DELETE FROM outbox_dead WHERE id = $1", tasks[0].ID)
		return err == nil && tag.RowsAffected() == 1
	})
	exec("INSERT INTO outbox_journal (event_id, stage, entry, generation) VALUES ('" + tasks[0].ID + "', 'person', 'discarded', 0)")
	if said := says("tasks-archived"); said != "" {
		t.Errorf("of one whose dead letter was discarded it says %q", said)
	}

	redis.Flush()
	eventually(t, "doctor says that events were sent again, and why", func() bool {
		said := says("healed")
		return strings.HasPrefix(said, "unconfirmed events were sent again 1 time in the last hour") && strings.Contains(said, "Redis was emptied without a restart")
	})
	eventually(t, "the other event is in Redis again", func() bool { return pending() == 1 })
	if said := says("tasks-archived"); said != "" {
		t.Errorf("after the loss it says %s", said)
	}
	exec(`UPDATE outbox_chart_marks SET at = now() - interval '16 minutes'`)
	if said := says("healed"); said != "" {
		t.Errorf("after a quarter of an hour it says %s", said)
	}
	command := func(args ...string) result {
		t.Helper()
		return execute(t, nil, append(args, servers...)...)
	}
	eventually(t, "the queue is paused", func() bool {
		return command("queues", "pause", "lonely", "--yes", "--as=ada", "--reason=the printer burns").code == 0
	})
	if said := says("queue-pause-lost"); said != "" {
		t.Errorf("of a pause it says %s", said)
	}
	p.stop() // a running relay heals, and measures

	redis.Flush()
	if said := says("redis-lost-data"); !strings.Contains(said, "Redis was emptied without a restart") {
		t.Errorf("at once after a loss it says %q", said)
	}
	if r := command("redrive", "--missing", "--dry-run"); !strings.Contains(r.stderr, "Redis may have lost its data") {
		t.Errorf("redrive --missing says %s%s", r.stdout, r.stderr)
	}
	if said := says("queue-pause-lost"); !strings.Contains(said, "lonely, which ") || !strings.Contains(said, " for ada paused at ") || !strings.Contains(said, "(the printer burns)") {
		t.Errorf("of a pause that Redis lost it says %q", said)
	}
	if r := command("queues", "list"); !strings.Contains(r.stdout, "pause lost") {
		t.Errorf("queues list says %s%s", r.stdout, r.stderr)
	}
	for _, change := range []string{"pause", "resume"} {
		if r := command("queues", change, "lonely", "--yes"); r.code != 0 {
			t.Errorf("%s: %s", change, r.message())
		}
		if said := says("queue-pause-lost"); said != "" {
			t.Errorf("after a %s it says %s", change, said)
		}
	}
	redis.Flush() // the record has no pause now
	if r := command("queues", "resume", "lonely", "--yes"); r.code == 0 || !strings.Contains(r.message(), "is not paused") {
		t.Errorf("a queue that was never paused: %s", r.message())
	}

	sample := func(ago, queued string) {
		t.Helper()
		exec(`INSERT INTO outbox_samples (at, relay, seconds, emitted, enqueued, confirmed, died, pending, held, dead, oldest_due, emitted_total, enqueued_total, queued)
			VALUES (now() - interval '` + ago + `', outbox_new_id(), 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ` + queued + `)`)
	}
	exec("DELETE FROM outbox_samples")
	sample("12 minutes", "900")
	sample("2 minutes", "2500")
	if said := says("backlog-growing"); said != "" {
		t.Errorf("without a worker, whom more workers do not help, it says %s", said)
	}
	redis.Kill() // now nobody knows which queue a worker serves
	if said := says("backlog-growing"); !strings.Contains(said, "2,500 tasks wait in Redis") || !strings.Contains(said, "900") {
		t.Errorf("of a backlog that grows it says %q", said)
	}
	sample("1 minute", "950")
	if said := says("backlog-growing"); said != "" {
		t.Errorf("of one that does not it says %s", said)
	}
}

// TestWrongPasswords wants the cause in the one line of a command.
func TestWrongPasswords(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	for _, statement := range []string{
		"CREATE ROLE ada LOGIN SUPERUSER PASSWORD 'right'",
		`DO $$ BEGIN EXECUTE format('COPY (SELECT unnest(ARRAY[''local all ada scram-sha-256'', ''local all all trust''])) TO %L', current_setting('hba_file')); END $$`,
		"DO $$ BEGIN PERFORM pg_reload_conf(); END $$",
	} {
		servertest.Execute(t, server.URL(), statement)
	}
	as := func(password string) []string {
		return on(strings.Replace(server.URL(), "//outboxd@", "//ada:"+password+"@", 1), servertest.Redis(t), t.TempDir())
	}
	eventually(t, "the server asks for passwords", func() bool {
		return execute(t, nil, append([]string{"migrate", "up"}, as("wrong")...)...).code != 0
	})
	if r := execute(t, nil, append([]string{"migrate", "up"}, as("right")...)...); r.code != 0 {
		t.Fatal(r.stderr)
	}
	for _, command := range [][]string{{"events", "list"}, {"dead", "list"}, {"types", "list"}, {"queues", "list"}, {"actions", "list"}, {"top", "--once"}} {
		r := execute(t, nil, append(slices.Clone(command), as("wrong")...)...)
		if said := strings.TrimSpace(r.message()); r.code != 1 || !strings.Contains(said, `password authentication failed for user "ada"`) || strings.Contains(said, "\n") || strings.Contains(said, "wrong") {
			t.Errorf("%v: exit code %d, says %q", command, r.code, said)
		}
	}
}
