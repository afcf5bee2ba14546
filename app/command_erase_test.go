package app_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
	"outboxd/domain"
	"outboxd/domain/words"
)

// Erasing reaches the tasks in Redis, those that are over among them.
func TestEraseReachesRedis(t *testing.T) {
	t.Parallel()
	queue := servertest.Redis(t)
	servers := on(schematest.Database(t), queue, t.TempDir())
	run := func(args ...string) string {
		t.Helper()
		r := execute(t, nil, append(args, servers...)...)
		if r.code != 0 {
			t.Fatalf("%v: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
		}
		return strings.TrimSpace(r.stdout)
	}
	options, err := asynq.ParseRedisURI(queue)
	if err != nil {
		t.Fatal(err)
	}
	client, inspector := asynq.NewClient(options), asynq.NewInspector(options)
	defer client.Close()
	defer inspector.Close()
	// Put the events into the history and their tasks into Redis, as a relay does.
	ledger := openLedger(t, strings.TrimPrefix(servers[0], "--database-url="))
	ids := map[string]string{}
	for _, kind := range []string{"waits", "completed", "archived"} {
		ids[kind] = run("events", "emit", kind, `--payload={"name": "ada"}`, "--header=person=7")
		task := asynq.NewTask(kind, []byte("ada"), asynq.TaskID(ids[kind]), asynq.MaxRetry(0), asynq.Retention(time.Hour))
		if kind == "waits" {
			task = asynq.NewTask(kind, []byte("ada"), asynq.TaskID(ids[kind]), asynq.ProcessIn(time.Hour))
		}
		if _, err := client.Enqueue(task); err != nil {
			t.Fatal(err)
		}
	}
	var moved int
	ledger.scan(&moved, `WITH gone AS (DELETE FROM outbox RETURNING *)
		, sent AS (INSERT INTO outbox_sent SELECT (jsonb_populate_record(NULL::outbox_sent, to_jsonb(gone) || '{"sent_at": "now"}')).* FROM gone RETURNING id) SELECT count(*) FROM sent`)
	var confirmed bool
	ledger.scan(&confirmed, "SELECT outboxd.confirm('"+ids["completed"]+"')")
	server := asynq.NewServer(options, asynq.Config{Concurrency: 1, LogLevel: asynq.FatalLevel, TaskCheckInterval: 10 * time.Millisecond})
	over := make(chan struct{}, 2)
	err = server.Start(asynq.HandlerFunc(func(_ context.Context, task *asynq.Task) error {
		defer func() { over <- struct{}{} }()
		if task.Type() == "archived" {
			return errors.New("no")
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	<-over
	<-over
	server.Shutdown()

	if got := run("events", "erase", "--header=person=7", "--yes"); !strings.Contains(got, "Erased 3 of 3 events") {
		t.Errorf("erase: %s", got)
	}
	for kind, id := range ids {
		if info, err := inspector.GetTaskInfo(domain.DefaultQueue, id); err == nil {
			t.Errorf("the task that %s is left: %+v", kind, info)
		}
	}
	var left int
	ledger.scan(&left, "SELECT (SELECT count(*) FROM outbox_sent WHERE payload <> '') + (SELECT count(*) FROM outbox_cancelled WHERE payload <> '')")
	if left != 0 {
		t.Errorf("%d events have their payload", left)
	}
	if got := run("verify"); !strings.Contains(got, "CANCELLED") {
		t.Errorf("verify: %s", got)
	}
}

// Any number of matching events is looked up and changed page by page, over one
// connection to Redis.
func TestManyEventsAreErasedOverOneConnection(t *testing.T) {
	t.Parallel()
	queue := redistest.Start(t).URL() // nobody else connects
	servers := on(schematest.Database(t), queue, t.TempDir())
	ledger := openLedger(t, strings.TrimPrefix(servers[0], "--database-url="))
	const events = 1050 // more than a page
	var written int
	ledger.scan(&written, "WITH new AS (INSERT INTO outbox (event_type, payload, headers) SELECT 'test', 'ada', '{\"person\": \"7\"}' FROM generate_series(1, 1050) RETURNING 1) SELECT count(*) FROM new")
	options, err := asynq.ParseRedisURI(queue)
	if err != nil {
		t.Fatal(err)
	}
	client := options.MakeRedisClient().(redis.UniversalClient)
	defer client.Close()
	connections := func() (n int) {
		for line := range strings.Lines(client.Info(t.Context(), "stats").Val()) {
			if _, err := fmt.Sscanf(line, "total_connections_received:%d", &n); err == nil {
				return n
			}
		}
		t.Fatal("Redis does not say how many connections it has received")
		return 0
	}
	before := connections()
	r := execute(t, nil, append([]string{"events", "erase", "--header=person=7", "--yes"}, servers...)...)
	if want := fmt.Sprintf("Erased %s of %s events", words.Count(events), words.Count(events)); r.code != 0 || !strings.Contains(r.stdout, want) {
		t.Fatalf("exit code %d, want %q: %s%s", r.code, want, r.stdout, r.stderr)
	}
	if n := connections() - before; n > 6 {
		t.Errorf("erasing %d events took %d connections to Redis", events, n)
	}
	var left int
	ledger.scan(&left, "SELECT count(*) FROM outbox_cancelled WHERE payload <> ''")
	if left != 0 {
		t.Errorf("%d events have their payload", left)
	}
}
