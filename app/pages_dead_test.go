package app_test

import (
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

// TestDeadLetterPages replays and discards what a real worker gave up, with a browser.
func TestDeadLetterPages(t *testing.T) {
	t.Parallel()
	databaseURL := schematest.Database(t)
	p := start(t, append(on(databaseURL, servertest.Redis(t), t.TempDir()), "--admin-token="+adminToken)...)
	db := openLedger(t, databaseURL)
	ask := func(query string, args ...any) (answer string) {
		t.Helper()
		if err := db.conn.QueryRow(t.Context(), query, args...).Scan(&answer); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return answer
	}
	for range 3 {
		ask(`SELECT outboxd.emit('email:send_notification', '{}', queue => 'notifications')::text`)
	}
	eventually(t, "three events are dead", func() bool { return ask("SELECT count(*)::text FROM outbox_dead") == "3" })
	ask(`INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error)
		VALUES (outbox_new_id(), $1, 'x', '{}', 'default', now(), 1, 0, now(), 'relay', $1) RETURNING ''`, hostile)

	tab := startBrowser(t).open(strings.TrimPrefix(p.monitor, "http://"))
	tab.visit("/dead")
	tab.await("tbody td", "^3$")
	tab.await("tbody td", "onerror")
	tab.see("dead")
	if tab.MustHas("main img") || tab.MustHas("main script") {
		t.Error("the text of an event became part of the page")
	}
	tab.await("tbody th a", "email:send_notification").MustClick()
	tab.await("p", "Whoever is signed in")
	if tab.MustHas("main button") || tab.MustHas(checkbox) {
		t.Error("the page offers changes without the token")
	}
	signIn(tab)

	change := func(action string, canary string) {
		t.Helper()
		tab.visit("/dead")
		tab.await("tbody th a", "email:send_notification").MustClick()
		if action == "discard" {
			tab.await("button", "^Discard…$")
			tab.MustElement(checkbox).MustClick()
			tab.await("button", "^Discard…$").MustClick()
		} else {
			tab.await("button", "^Replay…$").MustClick()
		}
		tab.await("h1", "dead letters?$")
		tab.see("dead-" + action)
		tab.MustElement("#reason").MustInput("test of " + action + canary)
		tab.MustElement("#actor").MustInput("ada@example.com")
		if canary != "" {
			tab.MustElement("#canary").MustSelectAllText().MustInput(canary)
		}
		tab.await("button", "them$").MustClick()
	}
	change("replay", "1")
	tab.await("#progress", "the canary failed")
	tab.see("dead-canary")
	if n := ask("SELECT count(*)::text FROM outbox_dead WHERE generation = 0 AND stage = 'worker'"); n != "2" {
		t.Errorf("%s dead letters were left alone, want 2", n)
	}
	change("discard", "")
	tab.await("#progress", "Done: 1 dead letter discarded")
	change("replay", "")
	tab.await("#progress", "Done: 2 dead letters replayed")
	tab.visit("/dead")
	tab.await("td", "test of discard")
	tab.see("dead-actions")
	tab.wantQuiet()
	if n := ask("SELECT count(*)::text FROM outbox_actions WHERE actor = 'ada@example.com' AND reason LIKE 'test of %'"); n != "3" {
		t.Errorf("%s actions are recorded, want 3", n)
	}
	p.stop()
}
