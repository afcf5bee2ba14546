package app_test

import (
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain/access"
)

// TestDeadLetterPages replays and discards what a real worker gave up, with a browser.
func TestDeadLetterPages(t *testing.T) {
	t.Parallel()
	databaseURL, redisURL := schematest.Database(t), servertest.Redis(t)
	ada, operator := personOf("ada@example.com", access.Admin), personOf("bob", access.Operator)
	p := start(t, append(on(databaseURL, redisURL, t.TempDir()), "--access-tokens="+ada.entry+","+operator.entry)...)
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
	die := func(eventType, fault string) {
		t.Helper()
		ask(`INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error)
			VALUES (outbox_new_id(), $1, 'x', '{}', 'default', now(), 1, 0, now(), 'relay', $2) RETURNING ''`, eventType, fault)
	}
	die("email:send_notification", "unknown customer")
	die(hostile, hostile)

	tab := startBrowser(t).open(strings.TrimPrefix(p.monitor, "http://"))
	tab.visit("/dead")
	tab.await("tbody td", "^3$")
	tab.await("tbody td", "onerror")
	tab.see("dead")
	if tab.MustHas("main img") || tab.MustHas("main script") {
		t.Error("the text of an event became part of the page")
	}
	tab.await("tbody th a", "email:send_notification").MustClick()
	tab.await("p", "To replay takes the role operator, to discard the role admin. Sign in first.")
	if tab.MustHas(`main a[href*="change?action="]`) || tab.MustHas(checkbox) {
		t.Error("the page offers changes without the token")
	}
	signInAs(tab, ada.token)
	tab.await(".foot .name", "ada@example.com, admin")

	change := func(action, canary, rate string) {
		t.Helper()
		tab.visit("/dead")
		tab.await("tbody th a", "email:send_notification").MustClick()
		if action == "discard" {
			tab.await("button[disabled]", "^Discard chosen…$") // with nothing chosen, nothing can be discarded
			tab.await("#chosen", "^nothing chosen$")
			tab.MustElement(checkbox).MustClick()
			tab.await("#chosen", "^1 of the [0-9] on this page chosen$")
			tab.await("button:enabled", "^Discard chosen…$").MustClick()
		} else {
			tab.await("main a", "^Replay all").MustClick()
		}
		tab.await("h1", "dead letters?$")
		tab.see("dead-" + action)
		tab.MustElement("#reason").MustInput("test of " + action + canary)
		if canary != "" {
			tab.MustElement("#canary").MustSelectAllText().MustInput(canary)
		}
		if rate != "" {
			tab.MustElement("#rate").MustSelectAllText().MustInput(rate)
		}
		tab.await("button", "them$").MustClick()
	}
	// To replay all dead letters of a type but those with one error takes three clicks. The first leaves the error out,
	// and the second opens the form that says how many dead letters match. The third one, which replays, is not made here.
	tab.visit("/dead?since=1h")
	tab.await("[role=status]", "5 dead letters of 2 types match: that died since")
	tab.await("main a", "^Replay all 5…$").MustClick()
	tab.await("h1", "^Replay 5 dead letters$")
	tab.await("li", "^email:send_notification: 4$")
	tab.visit("/dead")
	tab.await("tbody tr:nth-child(3) a", "^not this error$").MustClick()
	tab.await("[role=status]", "3 dead letters match: of type email:send_notification, not with the error unknown customer")
	tab.see("dead-without")
	tab.await("main a", "^Replay all 3…$").MustClick()
	tab.await("h1", "^Replay 3 dead letters$")
	// The same by type, with a second type that is left out in the form.
	tab.visit("/dead")
	tab.await("tbody tr:nth-child(2) a", "^not this type$").MustClick()
	tab.await("[role=status]", "4 dead letters match: not of type .*onerror")
	tab.MustElement("#not-type").MustInput("email:*")
	tab.await("button", "^Search$").MustClick()
	tab.await(".empty", "No dead letter matches")
	if n := len(tab.MustElements("[name=not-type]")); n != 3 {
		t.Errorf("%d fields for types that are left out, want one for each of the two and one for another", n)
	}
	tab.visit("/dead?not-type=email:*")
	tab.await("[role=status]", "1 dead letter matches: not of type email:\\*")
	tab.visit("/dead?type=email:*&not-field=none")
	tab.await("[role=status]", "4 dead letters match: of type email:\\*, without the payload field none")
	tab.MustElement("#not-field").MustInput("user_id=*")
	tab.await("button", "^Search$").MustClick()
	tab.await("[role=status]", "without the payload field none, without the payload field user_id=\\*")
	tab.await("main a", "^Replay all").MustClick()
	tab.await("h1", "^Replay 4 dead letters$")
	tab.await("main", "without the payload field none, without the payload field user_id=\\*")
	tab.visit("/dead?field=nothing")
	tab.await(".empty", "No dead letter matches")
	tab.visit("/dead?not_field=none")
	tab.await("main", `here is no field "not_field"`)
	tab.visit("/dead?since=yesterday")
	tab.await("[role=alert]", "is not a time")
	tab.wantQuiet("422")

	change("replay", "1", "")
	tab.await("#progress", "the canary failed")
	tab.see("dead-canary")
	if n := ask("SELECT count(*)::text FROM outbox_dead WHERE generation = 0 AND stage = 'worker'"); n != "2" {
		t.Errorf("%s dead letters were left alone, want 2", n)
	}
	change("discard", "", "")
	tab.await("#progress", "Done: 1 of 1 dead letter discarded")
	if err := openRedis(t, redisURL).Set(t.Context(), "asynq:{notifications}:paused", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	change("replay", "", "1")
	tab.await("#progress", "Done: 2 of 2 dead letters replayed")
	tab.await("#progress .notice", "^Queue notifications is paused: the 2 tasks wait there until it is resumed on the page Queues.$")
	if n := ask("SELECT concat(count(DISTINCT xmin::text), ' of ', count(*)) FROM outbox_journal WHERE entry = 'replayed'"); n != "3 of 3" {
		t.Errorf("the canary and, at 1 a second, the two others were replayed in %s transactions", n)
	}
	if rates := ask("SELECT string_agg(coalesce(filter ->> 'rate', 'none'), ', ' ORDER BY at) FROM outbox_actions WHERE action = 'replay'"); rates != "none, 1" {
		t.Errorf("the recorded rates are %s", rates)
	}
	tab.visit("/dead/change?action=replay&type=email:*")
	tab.MustEval(`() => { document.querySelector("#rate").type = "text" }`)
	tab.MustElement("#reason").MustInput("a wrong rate")
	tab.MustElement("#rate").MustSelectAllText().MustInput("100001")
	tab.await("button", "^Replay them$").MustClick()
	tab.await("[role=alert]", "The rate is a number of dead letters a second, up to 100000.")
	tab.wantQuiet("422")
	tab.visit("/dead")
	tab.await("td", "test of discard")
	tab.see("dead-actions")
	tab.visit("/actions")
	tab.await("tr:nth-child(1) td[data-label=Outcome]", "^done$")
	tab.await("tr:nth-child(3) td[data-label=Outcome]", "^stopped the canary failed: 1 of 1 events died again")
	tab.see("actions")
	tab.wantAccessible()
	tab.MustSetViewport(1024, 800, 1, false)
	tab.wantNoWiderThan(1024, "/actions")
	tab.wantQuiet()
	if n := ask("SELECT count(*)::text FROM outbox_actions WHERE actor = 'ada@example.com' AND reason LIKE 'test of %'"); n != "3" {
		t.Errorf("%s actions are recorded, want 3", n)
	}

	// A page that a role may not use says which role may use it.
	tab.await("button", "^Sign out$").MustClick()
	signInAs(tab, operator.token)
	tab.visit("/dead")
	tab.await("tbody th a", "onerror").MustClick()
	tab.await(`button[disabled][title="This takes the role admin. bob has the role operator."]`, "^Discard chosen…$")
	tab.visit(strings.Replace(tab.MustEval(`() => location.pathname + location.search`).Str(), "/dead/group?", "/dead/change?action=discard&", 1))
	tab.await(".notice", "This takes the role admin. bob has the role operator.")
	if tab.MustHas("main button") {
		t.Error("the page offers an operator to discard")
	}
	p.stop()
}

// A person groups dead letters by a payload field, and takes those of one value.
func TestDeadLettersByAPayloadField(t *testing.T) {
	t.Parallel()
	databaseURL := schematest.Database(t)
	p := start(t, on(databaseURL, servertest.Redis(t), t.TempDir())...)
	db := openLedger(t, databaseURL)
	// The browser gets the hostile text as the value of a field.
	if _, err := db.conn.Exec(t.Context(), `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error)
		SELECT outbox_new_id(), 'parcel:announce', convert_to(payload, 'UTF8'), '{}', 'default', now(), 1, 0, now(), 'worker', 'timeout'
		FROM unnest(ARRAY['{"carrier": "dhl", "user": {"api_token": "hidden"}}', '{"carrier": "dhl", "n": 1}', '{"carrier": "dhl "}', '{"carrier": {"token": "hidden"}}', '{"carrier": "", "n": 2}', 'no JSON', '{"carrier": "ups"}', json_build_object('carrier', $1::text)::text]) AS payload`,
		hostile); err != nil {
		t.Fatal(err)
	}
	tab := startBrowser(t).open(strings.TrimPrefix(p.monitor, "http://"))
	tab.visit("/dead")
	tab.MustElement("#by").MustFocus()
	tab.MustElement("#fields option[value=carrier]")
	if tab.MustHas("#fields option[value*=token]") {
		t.Error("a field is suggested whose values the pages hide")
	}
	tab.MustElement("#by").MustInput("carrier")
	tab.await("button", "^Search$").MustClick()
	tab.await("tbody tr:nth-child(1) th", "^dhl$")
	tab.await("tbody tr:nth-child(1) td", "^2$")
	tab.await("main", "an object or a list")
	tab.await("main", "an empty text")
	tab.await("tbody th", `^"dhl "$`)
	tab.await("tbody th", "onerror")
	if tab.MustHas("main img") || tab.MustHas("main script") || strings.Contains(tab.MustHTML(), "hidden\"}") {
		t.Error("the text of a payload became part of the page, or the page shows a hidden value")
	}
	tab.wantAccessible()
	tab.wantNarrow("/dead?by-field=carrier")
	tab.see("dead-by-field")
	// Each link to one value chooses as many dead letters as the page counted.
	only := map[string]string{}
	for _, row := range tab.MustElements("tbody tr") {
		for _, link := range row.MustElements("a") {
			if link.MustText() == "only these" {
				only[*link.MustAttribute("href")] = row.MustElement("td.number").MustText()
			}
		}
	}
	if len(only) != 6 {
		t.Errorf("%d values have a link, want all 7 but the object", len(only))
	}
	for path, count := range only {
		tab.visit("/" + path)
		tab.await("[role=status]", "^"+count+" dead letters? match")
	}
	tab.visit("/dead?by-field=carrier")
	tab.await("tbody tr:nth-child(1) a", "^not these$").MustClick()
	tab.await("[role=status]", "6 dead letters match: without the payload field carrier=dhl")
	tab.visit("/dead?field=n&by-field=carrier")
	tab.await("tbody tr:nth-child(1) td:last-child", "^not these$")
	tab.visit("/dead?by-field=user.api_token")
	tab.await("[role=alert]", "^The pages hide the values of user.api_token.$")
	tab.visit("/dead?by-field=carrier=dhl")
	tab.await("[role=alert]", "is not the name of a payload field alone")
	tab.visit("/dead?by-field=nothing")
	tab.await(".notice", "No payload has a value in the field nothing")
	tab.wantQuiet("422")
	p.stop()
}
