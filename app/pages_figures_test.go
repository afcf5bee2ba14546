package app_test

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
)

// A task waits for its next attempt in a queue that no worker serves. The page says so until a worker serves the queue.
func TestThePageOfQueuesSaysWhichNoWorkerServes(t *testing.T) {
	t.Parallel()
	databaseURL, redisURL := schematest.Database(t), servertest.Redis(t)
	db := openLedger(t, databaseURL)
	var id string
	if err := db.conn.QueryRow(t.Context(), `SELECT outboxd.emit('test:lonely', '{}', queue => 'lonely')::text`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	tasks := asynq.NewClientFromRedisClient(openRedis(t, redisURL))
	if _, err := tasks.EnqueueContext(t.Context(), asynq.NewTask("test:lonely", nil), asynq.TaskID(id), asynq.Queue("lonely"), asynq.ProcessIn(time.Hour)); err != nil {
		t.Fatal(err)
	}
	servers := on(databaseURL, redisURL, t.TempDir())
	p := start(t, append(servers, "--roles=relay,monitor")...)
	marked := func(path string) bool {
		_, body := get(t, p.monitor+path)
		return strings.Contains(body, `<span class="badge bad">no worker</span>`)
	}
	eventually(t, "the pages mark the queue", func() bool { return marked("/queues") && marked("/queues?queue=lonely") })
	start(t, append(servers, "--roles=worker", "--worker-queues=lonely=1")...)
	eventually(t, "the mark is gone", func() bool { return !marked("/queues") })
}

// TestFigurePages pauses a queue in a browser, and emits a corrected copy of a dead letter.
func TestFigurePages(t *testing.T) {
	t.Parallel()
	databaseURL, redis := schematest.Database(t), redistest.Start(t)
	p := start(t, append(on(databaseURL, redis.URL(), t.TempDir()), "--roles=relay,worker,monitor", "--admin-token="+adminToken)...)
	db := openLedger(t, databaseURL)
	ask := func(query string, args ...any) (answer string) {
		t.Helper()
		if err := db.conn.QueryRow(t.Context(), query, args...).Scan(&answer); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return answer
	}
	ask(`SELECT outboxd.emit('test:lonely', '{}', queue => 'lonely')::text`)
	dead := ask(`INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error)
		VALUES (outbox_new_id(), 'pay:out', '{"amount": 100, "api_token": "hidden-1"}', '{"x-secret": "hidden-2"}', 'lonely', now() + interval '1 day', 1, 0, now(), 'worker', '=too, much') RETURNING id::text`)
	eventually(t, "the event was handed over", func() bool { return ask(`SELECT count(*)::text FROM outbox_sent`) == "1" })

	tab := startBrowser(t).open(strings.TrimPrefix(p.monitor, "http://"))
	signIn(tab)
	tab.await("nav a", "^Queues$").MustClick()
	tab.await("tbody th a", "^lonely$").MustClick()
	tab.await("dd", "^1$")
	tab.await("main a", "^Pause…$").MustClick()
	tab.MustElement("#reason").MustInput("the printer burns")
	tab.await("button", "^Pause$").MustClick()
	tab.await(".notice", "Paused since .* by .+: the printer burns")
	tab.see("queue-paused")
	tab.await("main a", "^Resume…$").MustClick()
	tab.MustElement("#reason").MustInput("it is out")
	tab.await("button", "^Resume$").MustClick()
	tab.await("main a", "^Pause…$")
	tab.await("nav a", "^Types$").MustClick()
	tab.await("tbody th a", "^pay:out$")
	tab.await("nav a", "^Workers$").MustClick()
	tab.await("main", `places busy\. Version [^?\s]`)
	tab.wantQuiet()

	ask(`INSERT INTO outbox_schedules (name, cron, time_zone, missed, event_type, payload, next_at)
		VALUES ('nightly', '0 3 * * *', 'UTC', 'once', 'report:nightly', '', now() + interval '1 day') RETURNING ''`)
	tab.visit("/schedules")
	tab.await("main a", "^Pause…$").MustClick()
	tab.MustElement("#reason").MustInput("the report moves")
	tab.await("button", "^Pause$").MustClick()
	tab.await("main", "Paused since .* by .+: the report moves")
	tab.await("main a", "^Resume…$").MustClick()
	tab.MustElement("#reason").MustInput("it has moved")
	tab.await("button", "^Resume$").MustClick()
	tab.await("td .badge", "^active$")
	tab.visit("/events")
	tab.MustElement("#type").MustFocus()
	tab.MustElement("#types option[value='pay:out']")
	tab.MustElement("#queue").MustFocus()
	tab.MustElement("#queues option[value=lonely]")
	tab.visit("/dead?type=pay:*")
	tab.await("p[role=status]", "^1 dead letter matches: of type pay:\\*")
	tab.visit("/dead?type=pax:*")
	tab.await(".empty", "^No dead letter matches")
	tab.wantQuiet()

	ask(`SELECT count(outboxd.emit('test:later', '{}', available_at => now() + interval '1 day'))::text FROM generate_series(1, 3)`)
	ask(`SELECT outboxd.emit('test:other', '{}', available_at => now() + interval '1 day')::text`)
	tab.visit("/events?type=test:later&not-state=dead")
	tab.await("p[role=status]", "^3 events match")
	tab.MustElement("#not-state").MustSelect("pending")
	tab.await("button", "^Search$").MustClick()
	tab.await(".empty", "^No matching events")
	if n := len(tab.MustElements("[name=not-state]")); n != 3 {
		t.Errorf("%d fields leave out states, want two and one more", n)
	}
	tab.visit("/events?type=test:*&state=pending")
	tab.MustElement("#not-type").MustInput("test:o*")
	tab.await("button", "^Search$").MustClick()
	tab.await("p[role=status]", "^3 events match") // the page before has the same button
	tab.await("main a", "^Cancel all that match…$").MustClick()
	tab.await("h1", "^Cancel 3 events$")
	tab.await("p", "^Those of type test:\\*, not of type test:o\\*, in the state pending, emitted before .* that have not taken effect")
	tab.see("cancel")
	tab.MustElement("#reason").MustInput("a mistake")
	tab.await("button", "^Cancel them$").MustClick()
	tab.await("#progress", "Done: 3 events cancelled")
	tab.wantQuiet()

	tab.visit("/events/" + dead)
	tab.await("main a", "corrected copy").MustClick()
	tab.await("label", "values shown as ••• stay as they are")
	tab.see("correct")
	tab.wantAccessible()
	text := tab.MustElement("#payload").MustText()
	tab.MustElement("#payload").MustSelectAllText().MustInput(strings.Replace(text, "100", "1", 1))
	tab.MustElement("#reason").MustInput("it was in cents")
	tab.await("button", "^Emit$").MustClick()
	tab.await("h1 .badge", "pending|in flight|dead")
	tab.await("dd", "^"+dead+"$") // a header of the copy names the dead letter
	if body := tab.MustElement("body").MustText(); strings.Contains(body, "hidden-") {
		t.Errorf("a masked value is shown:\n%s", body)
	}
	tab.wantQuiet()
	if n := ask(`SELECT count(*)::text FROM (SELECT payload, headers FROM outbox UNION ALL SELECT payload, headers FROM outbox_sent) AS e
		WHERE convert_from(payload, 'UTF8')::jsonb = '{"amount": 1, "api_token": "hidden-1"}' AND headers @> '{"x-secret": "hidden-2"}'`); n != "1" {
		t.Errorf("%s events have the corrected payload with its hidden values, want 1", n)
	}
	if n := ask(`SELECT count(*)::text FROM outbox_dead`); n != "0" {
		t.Errorf("%s dead letters are left", n)
	}
	if n := ask(`SELECT count(*)::text FROM outbox_actions WHERE action IN ('pause', 'resume', 'correct', 'cancel')`); n != "6" {
		t.Errorf("%s actions are on record, want 6", n)
	}
	p.stop()
}

// TestExports reads files of dead letters and events from the pages and from the commands.
func TestExports(t *testing.T) {
	t.Parallel()
	databaseURL := schematest.Database(t)
	servers := on(databaseURL, servertest.Redis(t), t.TempDir())
	p := start(t, append([]string{"--roles=monitor"}, servers...)...)
	if _, err := openLedger(t, databaseURL).conn.Exec(t.Context(), `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error)
		SELECT outbox_new_id(), 'pay:out', CASE n WHEN 1 THEN '\xff'::bytea WHEN 2 THEN convert_to('{"x": "' || repeat('x', 20000) || '", "end": "of-it"}', 'UTF8') ELSE '{"token": "hidden-1"}' END, '{"x-secret": "hidden-2"}', 'q', now(), 1, 0, now(), 'worker', 'error, with "' || n FROM generate_series(1, 1201) n`); err != nil {
		t.Fatal(err)
	}
	page := func(path string) string {
		t.Helper()
		response, err := http.Get(p.monitor + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(response.Header.Get("Content-Disposition"), "attachment") {
			t.Fatalf("%s: status %d, %v: %s", path, response.StatusCode, err, body)
		}
		return string(body)
	}
	command := func(args ...string) string {
		t.Helper()
		r := execute(t, nil, append(args, servers...)...)
		if r.code != 0 {
			t.Fatalf("%v: %s", args, r.stderr)
		}
		return r.stdout
	}
	for name, file := range map[string]struct {
		text   string
		json   bool
		rows   int
		hidden bool
	}{
		"dead letters of the page":    {page("/dead/export?as=csv&type=pay:out"), false, 1201, true},
		"dead letters as JSON":        {page("/dead/export?as=json&type=pay:out"), true, 1201, true},
		"dead letters of the command": {command("dead", "export", "--not-error=1200"), false, 1200, false},
		"the same as JSON":            {command("dead", "export", "--error=1200", "-o=json"), true, 1, false},
		"events of the page":          {page("/events/export?as=csv&state=dead"), false, 1201, true},
		"events as JSON":              {command("events", "export", "-o=json"), true, 1201, true},
		"nothing":                     {command("events", "export", "--type=none", "-o=json"), true, 0, true},
	} {
		var rows int
		if file.json {
			var list []map[string]any
			if err := json.Unmarshal([]byte(file.text), &list); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			rows = len(list)
		} else {
			lines, err := csv.NewReader(strings.NewReader(file.text)).ReadAll()
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			rows = len(lines) - 1
		}
		if rows != file.rows || strings.Contains(file.text, "hidden-") == file.hidden {
			t.Errorf("%s: %d rows, want %d; the hidden values are there: %t", name, rows, file.rows, strings.Contains(file.text, "hidden-"))
		}
		if base64 := strings.Contains(file.text, "/w=="); base64 && file.hidden {
			t.Errorf("%s: the payload that is no text is there", name)
		}
		if strings.HasPrefix(name, "dead letters") && !strings.Contains(file.text, "of-it") {
			t.Errorf("%s: the end of a long payload is missing", name)
		}
	}
	if r := execute(t, nil, append([]string{"dead", "export", "-o=yaml"}, servers...)...); r.code != 2 || !strings.Contains(r.stderr, "the forms are csv and json") {
		t.Errorf("code %d: %s", r.code, r.stderr)
	}
	p.stop()
}
