package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
)

// failAtMails runs a worker of another program that fails at every mail, until the
// function that it returns is called.
func failAtMails(t *testing.T, redisURL string) (stop func()) {
	t.Helper()
	options, err := asynq.ParseRedisURI(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	client, _ := options.MakeRedisClient().(redis.UniversalClient)
	worker := asynq.NewServerFromRedisClient(client, asynq.Config{
		Concurrency: 4, LogLevel: asynq.FatalLevel, TaskCheckInterval: 10 * time.Millisecond, Queues: map[string]int{"mail": 1},
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return time.Hour },
	})
	err = worker.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		return errors.New("dial tcp 10.0.0.7:25: connection refused")
	}))
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		worker.Shutdown()
		_ = client.Close()
	}
}

// TestFailingEvents sees an outage of a mail server: in lists, findings, metrics and on
// the pages. A person then retries and gives up what fails.
func TestFailingEvents(t *testing.T) {
	t.Parallel()
	databaseURL, server := servertest.Database(t), redistest.Start(t)
	servers := on(databaseURL, server.URL(), t.TempDir())
	p := start(t, append([]string{"--roles=relay,monitor", "--admin-token=" + adminToken}, servers...)...)
	stop := failAtMails(t, server.URL())
	db := openLedger(t, databaseURL)
	ask := func(query string, args ...any) (answer string) {
		t.Helper()
		if err := db.conn.QueryRow(t.Context(), query, args...).Scan(&answer); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return answer
	}
	var ids []string
	for _, kind := range []string{"mail:send", "mail:send", "mail:send", "mail:bulk"} {
		ids = append(ids, ask(`SELECT outboxd.emit($1, '{"to": "ada", "password": "hidden-1"}', queue => 'mail', headers => '{"tenant": "acme"}')::text`, kind))
	}
	run := func(args ...string) result {
		t.Helper()
		return execute(t, nil, append(args, servers...)...)
	}
	type listed struct {
		Events []struct {
			ID, State, Error string
			Failing          *struct {
				Failed   int `json:"failed_attempts"`
				Attempts int
				NextAt   *time.Time `json:"next_at"`
			}
		}
	}
	list := func(args ...string) (l listed) {
		t.Helper()
		if err := json.Unmarshal([]byte(run(append([]string{"events", "list", "-o=json"}, args...)...).stdout), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	eventually(t, "all of them fail", func() bool { return len(list("--state=failing").Events) == len(ids) })
	stop()
	if l := list("--state=failing", "--type=mail:send", "--header=tenant=acme", "--limit=2"); len(l.Events) != 2 || l.Events[0].ID != ids[2] || l.Events[1].ID != ids[1] {
		t.Errorf("two failing mails are %+v", l)
	} else if e := l.Events[0]; e.Failing == nil || e.Failing.Failed != 1 || e.Failing.Attempts != 26 || e.Failing.NextAt == nil || !strings.Contains(e.Error, "connection refused") {
		t.Errorf("a failing mail is %+v", e)
	}
	if l := list("--state=in-flight"); len(l.Events) != 0 {
		t.Errorf("failing events are listed as in flight: %+v", l)
	}
	if l := list(); len(l.Events) != len(ids) || l.Events[0].State != "failing" {
		t.Errorf("all events are %+v", l)
	}
	if said := run("events", "show", ids[0]).stdout; !strings.Contains(said, "failing: attempt 1 of 26 failed, the next one is at ") || !strings.Contains(said, "connection refused") {
		t.Errorf("events show says\n%s", said)
	}
	if said := run("doctor").stdout; !strings.Contains(said, `4 tasks have failed and are tried again later: 3 of type "mail:send" (queue mail), such as: dial tcp 10.0.0.7:25: connection refused; 1 of type "mail:bulk"`) {
		t.Errorf("doctor says\n%s", said)
	}
	get := func(path string) string {
		t.Helper()
		response, err := http.Get(p.monitor + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	// Somebody who may only read gets no more from Asynqmon than from the pages.
	if tasks := get("/monitoring/tasks/api/queues/mail/retry_tasks"); strings.Contains(tasks, "hidden-1") || !strings.Contains(tasks, "ada") || !strings.Contains(tasks, "•••") {
		t.Errorf("Asynqmon's API answers\n%s", tasks)
	}
	eventually(t, "/readyz warns", func() bool { return strings.Contains(get("/readyz"), "tasks-failing: 4 tasks have failed") })
	eventually(t, "the metric counts them", func() bool {
		metrics := get("/metrics")
		return strings.Contains(metrics, `outboxd_relay_failing_tasks{queue="mail",type="mail:send"} 3`) && strings.Contains(metrics, `outboxd_relay_queue_tasks{queue="mail",state="retry"} 4`)
	})

	for _, c := range []struct {
		code int
		args []string
		says string
	}{
		{2, []string{"retry"}, "say which failing events"},
		{2, []string{"retry", "--type=*", "--yes"}, "say which failing events"},
		{2, []string{"give-up", "--error=", "--queue=*", "--yes"}, "say which failing events"},
		{2, []string{"retry", "--all", "--canary=-1", "--yes"}, "must not be negative"},
		{2, []string{"retry", "--all", "--canary=1", "--canary-timeout=-1s", "--yes"}, "must not be negative"},
		{2, []string{"retry", "--type=mail:send"}, "3 failing events match."},
		{2, []string{"retry", "--field=to=ada", "--not-type=mail:bulk"}, "3 failing events match."},
		{2, []string{"give-up", "--header=tenant", "--not-key=k"}, "4 failing events match."},
		{0, []string{"give-up", "--type=mail:send", "--not-field=to=a*", "--yes"}, "No failing event matches"},
		{0, []string{"retry", "--not-header=tenant=acme", "--yes"}, "No failing event matches"},
		{2, []string{"retry", "--not-field=", "--not-header=", "--yes"}, "say which failing events"},
		{2, []string{"give-up", "--type=mail:send"}, "say --yes to give them up"},
		{0, []string{"retry", ids[0], "--rate=50", "--yes", "--reason=the server is back"}, "Retried 1 of 1 failing event.\nEvents whose next attempt had come by itself before are not counted: workers try them without this command.\noutboxd types show TYPE says whether they take effect."},
		{1, []string{"retry", ids[0], "--yes"}, "not failing: 1 of the 1 events named"},
		{0, []string{"give-up", "--type=mail:send", "--error=CONNECTION", "--yes", "--as=ada"}, "Gave up 2 of 2 failing events."},
		{0, []string{"show", ids[1]}, " for ada; outboxd dead replay sends it again"},
		{0, []string{"show", ids[1]}, "given up (person)"},
		{0, []string{"show", ids[1]}, "died (person)"},
		{0, []string{"show", ids[0]}, "its task waits for a worker"},
		{0, []string{"show", ids[0]}, "retried (person)"},
		{0, []string{"show", ids[0]}, ": the server is back"},
	} {
		if r := run(append([]string{"events"}, c.args...)...); r.code != c.code || !strings.Contains(r.stdout+r.stderr, c.says) {
			t.Errorf("%v: exit code %d\n%s%s", c.args, r.code, r.stdout, r.stderr)
		}
	}
	if rate := ask("SELECT filter ->> 'rate' FROM outbox_actions WHERE action = 'retry' AND events = 1"); rate != "50" {
		t.Errorf("the record of the retry has the rate %q", rate)
	}
	if n := ask("SELECT count(*)::text FROM outbox_actions WHERE (action, events) IN (('retry', 1), ('give up', 2))"); n != "2" {
		t.Errorf("%s actions are on record, want 2", n)
	}

	tab := startBrowser(t).open(strings.TrimPrefix(p.monitor, "http://"))
	tab.visit("/events?state=failing")
	tab.await("tbody td", "attempt 1 of 26 failed, next at .*connection refused")
	tab.await("nav a", "^Failing$").MustClick()
	tab.await("tbody th", "mail:bulk")
	tab.see("failing")
	signIn(tab)
	tab.visit("/failing")
	tab.await("tbody a", "^Give up…$").MustClick()
	tab.await("h1", "Give up: 1 failing event")
	tab.see("failing-give-up")
	tab.MustElement("#reason").MustInput("nobody wants them")
	tab.await("button", "^Give up$").MustClick()
	tab.await("[role=status]", "Done: 1 of 1 failing event given up")
	tab.visit("/failing")
	tab.await(".empty", "No task is failing")
	tab.visit("/actions")
	tab.await("tbody td", "nobody wants them")
	tab.see("actions")
	tab.wantQuiet()
	tab.visit("/nope")
	tab.await("main h1", "Not Found")
	tab.wantQuiet("404")
	p.stop()
}
