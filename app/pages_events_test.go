package app_test

import (
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest/redistest"
)

// hostile is text that would run as a script wherever a page forgot to escape it.
const hostile = `<img src=x onerror=alert(1)>"'><script>document.title="owned"</script>{{7*7}}`

// TestEventPages searches events and looks at their lives, with a browser.
func TestEventPages(t *testing.T) {
	t.Parallel()
	databaseURL, redis := schematest.Database(t), redistest.Start(t)
	p := start(t, append(on(databaseURL, redis.URL(), t.TempDir()), "--admin-token="+adminToken, "--monitor-trace-url=https://traces.example.com/{trace_id}")...)
	db := openLedger(t, databaseURL)
	ask := func(query string, args ...any) (answer string) {
		t.Helper()
		if err := db.conn.QueryRow(t.Context(), query, args...).Scan(&answer); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return answer
	}
	strange := ask(`SELECT outboxd.emit($1, jsonb_build_object('text', $1::text, 'card', jsonb_build_object('Access_Token', 'hidden-1')),
		headers => jsonb_build_object($1::text, $1::text, 'x-secret', 'hidden-2', 'traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'),
		available_at => now() + interval '1 hour')::text`, hostile)
	waiting := ask(`INSERT INTO outbox (event_type, payload, available_at) VALUES ('raw:bytes', '\x00ff00', now() + interval '2 hours') RETURNING id::text`)
	first := ask(`SELECT outboxd.emit('account:renamed', '{}', ordering_key => 'account-7')::text`)
	eventually(t, "the first event of the key is on its way", func() bool { return ask(`SELECT count(*)::text FROM outbox_sent`) == "1" })
	held := ask(`SELECT outboxd.emit('account:renamed', '{}', ordering_key => 'account-7')::text`)
	eventually(t, "the second is held", func() bool { return ask(`SELECT count(*)::text FROM outbox_held`) == "1" })

	tab := startBrowser(t).open(strings.TrimPrefix(p.monitor, "http://"))
	tab.visit("/")
	tab.await("nav a", "^Events$").MustClick()
	tab.await("tbody tr", "raw:bytes")
	tab.see("events")
	tab.MustElement("#state").MustSelect("held")
	tab.await("button", "^Search$").MustClick()
	tab.await("tbody tr:only-child td", "waits for "+first)
	if n := len(tab.MustElements("tbody tr")); n != 1 {
		t.Errorf("%d events are held, want one", n)
	}
	tab.await("tbody th a", held).MustClick()
	tab.await("ol.timeline li", "Emitted")
	tab.see("event-held")
	tab.await("main p a[data-back]", "^Events$").MustClick() // the search is still there
	tab.await("tbody tr:only-child td", "waits for "+first)
	ask(`INSERT INTO outbox (event_type, payload, available_at) SELECT 'many & more', 'x', now() + interval '1 day' FROM generate_series(1, 60) RETURNING ''`)
	tab.visit("/events?type=many+%26+more")
	tab.await("p[role=status]", "^60 events match.$")
	tab.await("a", "^Next page$").MustClick()
	tab.await("p", "the newest are on the first page")
	tab.await("p[role=status]", "^60 events match.$")
	if n := len(tab.MustElements("tbody tr")); n != 10 {
		t.Errorf("the second page has %d events, want 10", n)
	}
	tab.await("button", "^Previous page$").MustClick()
	tab.await("tbody tr:nth-child(50)", "many & more")
	tab.visit("/events?type=none")
	tab.await(".empty", "No matching events")
	tab.wantQuiet()
	tab.visit("/events?since=yesterday")
	tab.await("[role=alert]", "is not a time")
	tab.wantQuiet("422")

	tab.visit("/events?header=x-secret")
	tab.await("tbody td", "onerror")
	tab.await("tbody th a", strange).MustClick()
	tab.await("h1", "onerror")
	tab.await("pre", `"Access_Token": "•••"`)
	tab.await("dd", "onerror")
	tab.await("a[href='https://traces.example.com/0af7651916cd43dd8448eb211c80319c']", "0af7")
	tab.see("event-hostile")
	if body := tab.MustElement("body").MustText(); strings.Contains(body, "hidden-") || strings.Contains(body, "49") && strings.Contains(body, "}49") {
		t.Errorf("a masked value is shown:\n%s", body)
	}
	if title := tab.MustInfo().Title; strings.Contains(title, "owned") || tab.MustHas("main img") || tab.MustHas("main script") {
		t.Errorf("the text of an event became part of the page, whose title is %q", title)
	}
	tab.visit("/events?id=" + waiting)
	tab.await("section .notice", "^The payload is no text, so no value in it can be masked. This takes the role admin. Sign in first.$")
	tab.wantQuiet()
	signIn(tab)
	tab.visit("/events/" + waiting)
	tab.await("pre", "00 ff 00")
	signOut(tab)

	redis.Kill()
	tab.visit("/events/" + first)
	tab.await("[role=status]", "Redis does not answer")
	tab.await("li", "Enqueued")
	tab.see("event-without-redis")
	tab.wantQuiet()
	redis.Start()
	tab.visit("/events/01980000-0000-7000-8000-000000000000")
	tab.await("[role=alert]", "There is no event")
	tab.wantQuiet("404")
	p.stop()
}
