package app_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"outboxd/app/servertest"
	"outboxd/app/servertest/redistest"
)

// TestSendingAgainIntoAPausedQueueIsTold pauses the queue of a failing event and of a dead letter. Before a person
// retries or replays them, commands and pages say that their tasks will wait.
func TestSendingAgainIntoAPausedQueueIsTold(t *testing.T) {
	t.Parallel()
	const usage = 2
	databaseURL, redis := servertest.Database(t), redistest.Start(t)
	servers := on(databaseURL, redis.URL(), t.TempDir())
	p := start(t, append([]string{"--roles=relay,monitor"}, servers...)...)
	stop := failAtMails(t, redis.URL())
	db := openLedger(t, databaseURL)
	if _, err := db.conn.Exec(t.Context(), `SELECT outboxd.emit('mail:send', '{}', queue => 'mail') FROM generate_series(1, 3)`); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) result {
		t.Helper()
		return execute(t, nil, append(args, servers...)...)
	}
	paused := func(args ...string) []map[string]any {
		t.Helper()
		var d struct {
			Paused []map[string]any `json:"paused_queues"`
		}
		r := run(append(args, "-o=json")...)
		if err := json.Unmarshal([]byte(r.stdout), &d); err != nil {
			t.Fatalf("%v: %v\n%s%s", args, err, r.stdout, r.stderr)
		}
		return d.Paused
	}
	page := func(path string) string {
		t.Helper()
		status, body := get(t, p.monitor+path)
		if status != http.StatusOK {
			t.Fatalf("%s: status %d: %s", path, status, body)
		}
		return body
	}
	retry, replay := []string{"events", "retry", "--all"}, []string{"dead", "replay", "--all"}
	forms := map[string]string{"/failing/change?action=retry&queue=mail": "the 2 tasks wait", "/dead/change?action=replay&queue=mail": "the task waits"}

	eventually(t, "three events fail", func() bool { return strings.Contains(run(retry...).stdout, "3 failing events match") })
	stop()
	var list struct{ Events []struct{ ID string } }
	if err := json.Unmarshal([]byte(run("events", "list", "-o=json").stdout), &list); err != nil {
		t.Fatal(err)
	}
	run("events", "give-up", list.Events[0].ID, "--yes").wants(t, 0, "Gave up 1 of 1")
	for _, args := range [][]string{retry, replay} {
		if said := run(args...).message(); strings.Contains(said, "paused") {
			t.Errorf("%v of queues that are open: %s", args, said)
		}
		if open := paused(args...); open == nil || len(open) > 0 {
			t.Errorf("%v: the paused queues are %v, want none", args, open)
		}
	}
	for path := range forms {
		if said := page(path); strings.Contains(said, "is paused") {
			t.Errorf("%s says\n%s", path, said)
		}
	}

	run("queues", "pause", "mail", "--yes").wants(t, 0, "mail paused")
	run(retry...).wants(t, usage, "Queue mail is paused: the 2 tasks wait there until it is resumed (outboxd queues resume mail).")
	run(replay...).wants(t, usage, "Queue mail is paused: the task waits there until it is resumed (outboxd queues resume mail).")
	run("redrive", list.Events[1].ID).wants(t, usage, "Queue mail is paused: the task waits there until it is resumed (outboxd queues resume mail).")
	run("events", "give-up", "--all").wants(t, usage, "2 failing events match")
	for path, waits := range forms {
		if said := page(path); !strings.Contains(said, "Queue mail is paused: "+waits+" there until it is resumed") {
			t.Errorf("%s says\n%s", path, said)
		}
	}
	canary := append(slices.Clip(retry), "--canary=1", "--canary-timeout=1ms", "--yes")
	if d := paused(canary...); len(d) != 1 || d[0]["queue"] != "mail" || d[0]["events"] != 2.0 {
		t.Errorf("the paused queues of the retry are %v", d)
	}
	// A redrive sends the events again that failed, and a delivery to a subscription that is paused. Then one of these
	// events is missing too.
	run("subscriptions", "apply", "--yes", "-f", writeFile(t, "subscriptions.yaml", `
- name: crm
  types: [order:paid]
  url: https://crm.example.com/hooks
  secret: [env:CRM_SECRET]
`)).wants(t, 0, "added")
	run("subscriptions", "pause", "crm", "--yes").wants(t, 0, "paused")
	if _, err := db.conn.Exec(t.Context(), `SELECT outboxd.emit('order:paid', '{}', queue => 'orders')`); err != nil {
		t.Fatal(err)
	}
	redrive := []string{"redrive", "--since=1h"}
	eventually(t, "the order and its delivery were handed over", func() bool { return strings.Contains(run(redrive...).stdout, "4 events were handed") })
	run(redrive...).wants(t, usage, "Queue mail is paused: the 2 tasks wait there until it is resumed (outboxd queues resume mail).",
		"Subscription crm is paused: the task waits there until it is resumed (outboxd subscriptions resume crm")
	if d := paused(redrive...); len(d) != 2 {
		t.Errorf("the paused queues of the redrive are %v", d)
	}
	if _, err := db.conn.Exec(t.Context(), `INSERT INTO outbox_missing (event_id, event_type, queue, generation, sent_at, task)
		SELECT id, event_type, queue, generation, sent_at, 'lost' FROM outbox_sent WHERE queue IN ('mail', 'orders') ORDER BY queue DESC LIMIT 2`); err != nil {
		t.Fatal(err)
	}
	run("redrive", "--missing").wants(t, usage, "Queue mail is paused: the task waits there until it is resumed")

	// What waits in the paused queue is moved to later. An event that a producer planned stays as it is.
	if _, err := db.conn.Exec(t.Context(), `SELECT outboxd.emit('mail:send', '{}', queue => 'mail', available_at => now() + interval '5 hours')`); err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{"in-flight", "failing"} {
		run("events", "reschedule", "--queue=mail", "--state="+state, "--in=2h", "--yes").wants(t, 0)
	}
	var times string
	if err := db.conn.QueryRow(t.Context(), `SELECT string_agg(round(extract(epoch FROM available_at - now()) / 3600)::text, ' ' ORDER BY available_at) FROM outbox WHERE queue = 'mail'`).Scan(&times); err != nil || times != "2 2 5" {
		t.Errorf("the mails are due in %s hours, %v", times, err)
	}
	p.stop()

	// While Redis cannot be asked, the command says so, and its document names no paused queues.
	redis.Kill()
	run(replay...).wants(t, usage, "1 dead letter matches", "Redis does not say which queues are paused")
	if unknown := paused(replay...); unknown != nil {
		t.Errorf("without Redis the paused queues are %v", unknown)
	}
}
