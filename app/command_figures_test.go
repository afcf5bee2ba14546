package app_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest/redistest"
	"outboxd/jobs/jobstest"
)

// TestTypesQueuesAndWorkersByCommand has a queue that a real worker serves and one that no worker serves, and
// pauses queues.
func TestTypesQueuesAndWorkersByCommand(t *testing.T) {
	t.Parallel()
	databaseURL, redis := schematest.Database(t), redistest.Start(t)
	servers := on(databaseURL, redis.URL(), t.TempDir())
	p := start(t, append([]string{"--roles=relay,worker", "--example=on", "--worker-queues=notifications=3,default=1"}, servers...)...)
	db, tasks := schematest.Connect(t, databaseURL).SQL(), jobstest.OpenRedis(t, redis.URL()).Client()
	exec := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	run := func(code int, args ...string) result {
		t.Helper()
		r := execute(t, nil, append(args, servers...)...)
		if r.code != code {
			t.Fatalf("%v: exit code %d, want %d\n%s%s", args, r.code, code, r.stdout, r.stderr)
		}
		return r
	}
	wants := func(r result, texts ...string) { t.Helper(); r.wants(t, r.code, texts...) }
	exec(`SELECT outboxd.emit('test:lonely', '{}', queue => 'lonely') FROM generate_series(1, 3)`)
	exec(`SELECT outboxd.emit('test:later', '{}', queue => 'lonely', available_at => now() + interval '1 day')`)
	exec(`INSERT INTO outbox_type_samples (at, event_type, queue, seconds, confirmed, failed, died, delay_p50, delay_p99)
		VALUES (now(), '', '', 60, 0, 0, 0, NULL, NULL), (now(), 'test:lonely', 'lonely', 60, 120, 0, 1, 0.25, 2),
		       (now(), 'email:send_notification', 'notifications', 60, 6, 4, 0, 0.25, 2)`)

	var types struct {
		Complete bool
		Types    []struct {
			Type    string
			Queues  []string
			Pending *int64
			Failing *int64
			Emitted *int64   `json:"emitted_today"`
			Rate    *float64 `json:"confirmed_per_second"`
			P99     *float64 `json:"delay_p99_seconds"`
			Failed  *int64   `json:"failed_attempts_of_hour"`
		}
	}
	eventually(t, "the three events were handed over", func() bool {
		return tasks.LLen(t.Context(), "asynq:{lonely}:pending").Val() == 3
	})
	if err := json.Unmarshal([]byte(run(0, "types", "list", "-o=json").stdout), &types); err != nil || len(types.Types) != 3 || !types.Complete {
		t.Fatalf("%+v, %v", types, err)
	}
	if later := types.Types[0]; later.Type != "test:later" || *later.Pending != 1 || *later.Emitted != 1 {
		t.Errorf("%+v", later)
	}
	// The leader may have added a sample of its own, in which nothing was confirmed.
	if lonely := types.Types[1]; lonely.Type != "test:lonely" || *lonely.Rate < 1 || *lonely.Rate > 2 || *lonely.P99 != 2 || lonely.Failed != nil || *lonely.Failing != 0 || len(lonely.Queues) != 1 {
		t.Errorf("%+v", lonely)
	}
	if mail := types.Types[2]; mail.Type != "email:send_notification" || mail.Failed == nil || *mail.Failed != 4 {
		t.Errorf("outboxd's own worker sees failed attempts: %+v", mail)
	}
	if r := run(0, "queues", "list"); !regexp.MustCompile(`(?m)^lonely .* [12]\.\d/s +\? +1 `).MatchString(r.stdout) {
		t.Errorf("no worker of outboxd serves lonely:\n%s", r.stdout)
	}
	// Only some seconds were measured, and not since the last measurement.
	wants(run(0, "types", "list"), "TYPE", "250 ms", "RATE 1m", "DIED 1m", "RATE, FAILED, P50 and P99 are as of ")
	wants(run(0, "types", "show", "test:lonely"), "FROM (UTC)", "120", "outboxd dead list --type test:lonely")
	wants(run(1, "types", "show", "test:nothing"), `nothing is known of event type "test:nothing"`)

	wants(run(2, "queues", "pause", "lonely"), "nothing was done; say --yes")
	wants(run(1, "queues", "pause", "nowhere", "--yes"), `Redis knows no queue "nowhere"`)
	wants(run(1, "queues", "pause", "subscription:crm", "--yes"), "outboxd subscriptions pause crm")
	wants(run(1, "queues", "resume", "lonely", "--yes"), "is not paused")
	wants(run(0, "queues", "pause", "lonely", "--yes", "--as=ada", "--reason=the printer burns"), "lonely paused")
	wants(run(1, "queues", "pause", "lonely", "--yes"), "is paused already")
	wants(run(0, "queues", "list"), "paused", "notifications", "open")
	wants(run(0, "queues", "show", "lonely"), " for ada: the printer burns", "Types: test:later, test:lonely")
	var queues struct {
		Queues []struct {
			Queue  string
			Paused *struct{ By string }
			Tasks  *struct{ Pending int64 }
			Dead   *int64
		}
	}
	if err := json.Unmarshal([]byte(run(0, "queues", "-o=json").stdout), &queues); err != nil || len(queues.Queues) == 0 ||
		queues.Queues[0].Queue != "lonely" || queues.Queues[0].Paused == nil || queues.Queues[0].Tasks.Pending != 3 {
		t.Errorf("%+v, %v", queues, err)
	}
	eventually(t, "Redis knows the queue", func() bool { return tasks.SAdd(t.Context(), "asynq:queues", "notifications").Err() == nil })
	wants(run(1, "queues", "pause", "lonely", "nowhere", "notifications", "--yes"),
		`lonely: queue "lonely" is paused already`, `nowhere: Redis knows no queue "nowhere"`, "notifications paused", "2 of 3 queues failed")
	wants(run(0, "queues", "resume", "lonely", "notifications", "--yes", "--reason=it is out"), "lonely resumed", "notifications resumed")
	wants(run(0, "actions", "list"), "the printer burns", "it is out", `{"queue": "lonely"}`)
	var record struct {
		Actions []struct{ ID, Action, Outcome string }
	}
	if err := json.Unmarshal([]byte(run(0, "actions", "list", "-o=json").stdout), &record); err != nil || len(record.Actions) != 4 || record.Actions[0].Action != "resume" || record.Actions[0].Outcome != "done" {
		t.Fatalf("%+v, %v", record, err)
	}
	wants(run(0, "actions", "show", record.Actions[3].ID), "ada", "the printer burns")

	var workers struct {
		Workers []struct {
			Worker, Version string
			Queues          map[string]int
		}
	}
	if err := json.Unmarshal([]byte(run(0, "workers", "list", "-o=json").stdout), &workers); err != nil || len(workers.Workers) == 0 || workers.Workers[0].Queues["notifications"] != 3 || workers.Workers[0].Version == "" {
		t.Fatalf("%+v, %v", workers, err)
	}
	wants(run(0, "workers", "show", workers.Workers[0].Worker), "VERSION", workers.Workers[0].Version, "notifications 3, default 1")
	wants(run(1, "workers", "show", "nobody:1"), "no worker")

	redis.Kill()
	r := run(1, "types", "list", "-o=json")
	types.Types = nil
	if err := json.Unmarshal([]byte(r.stdout), &types); err != nil || types.Types[0].Failing != nil || types.Types[0].Pending == nil || !strings.Contains(r.stdout, "redis_error") {
		t.Errorf("without Redis: %s", r.stdout)
	}
	for _, show := range [][]string{{"types", "show", "test:lonely"}, {"queues", "show", "lonely"}} {
		if r := run(1, append(show, "-o=json")...); !strings.Contains(r.stdout, `"redis_error"`) || !strings.Contains(r.stderr, "not everything is shown: Redis does not answer") {
			t.Errorf("%v without Redis says %s%s", show, r.stdout, r.stderr)
		}
	}
	redis.Start()
	p.stop()

	// Without PostgreSQL a queue is paused all the same. The same command records the pause later.
	down := on("postgres://nobody@127.0.0.1:1/nothing", redis.URL(), t.TempDir())
	for _, list := range []string{"types list", "queues list", "keys list", "events list", "dead list", "subscriptions list", "schedules list", "actions list"} {
		if r := execute(t, nil, slices.Concat(strings.Fields(list), down, []string{"--timeout=1s"})...); r.code != 1 || !strings.Contains(r.stderr, "connection refused") {
			t.Errorf("%s without PostgreSQL ends with %d and says %s%s", list, r.code, r.stdout, r.stderr)
		}
	}
	pause := []string{"queues", "pause", "default", "--yes", "--timeout=1s"}
	eventually(t, "Redis is back", func() bool { return tasks.SAdd(t.Context(), "asynq:queues", "default").Err() == nil })
	if r := execute(t, nil, append(pause, down...)...); r.code == 0 || !strings.Contains(r.stderr, "could not be recorded; pause it again") {
		t.Errorf("without PostgreSQL it ends with %d and says %s%s", r.code, r.stdout, r.stderr)
	}
	if n, err := tasks.Exists(t.Context(), "asynq:{default}:paused").Result(); err != nil || n != 1 {
		t.Errorf("the queue is not paused without PostgreSQL: %v", err)
	}
	wants(run(0, pause...), "default paused")
	wants(run(1, pause...), "is paused already")
}
