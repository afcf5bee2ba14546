package app_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
)

// TestPagesBehindAProxy signs in, looks at every page and changes something, below a path that a reverse proxy
// removes.
func TestPagesBehindAProxy(t *testing.T) {
	t.Parallel()
	databaseURL := schematest.Database(t)
	p := start(t, append(on(databaseURL, servertest.Redis(t), t.TempDir()), "--admin-token="+adminToken)...)
	register(t, p.api, "ada@example.com") // so that Asynq knows a queue
	db := openLedger(t, databaseURL)
	var dead string
	db.scan(&dead, `INSERT INTO outbox_dead (id, event_type, payload, headers, queue, available_at, attempts, generation, created_at, stage, error)
		VALUES (outbox_new_id(), 'test:a', 'x', '{}', 'default', now(), 1, 0, now(), 'worker', 'it broke') RETURNING id::text`)

	const below = "/ops/outboxd"
	upstream, err := url.Parse(p.monitor)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(upstream)
		r.Out.URL.Path, r.Out.URL.RawPath = strings.TrimPrefix(r.In.URL.Path, below), ""
		r.SetXForwarded()
	}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, below+"/") {
			t.Errorf("the browser asks for %s", r.URL.Path)
			http.NotFound(w, r)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	page := startBrowser(t).open(strings.TrimPrefix(proxy.URL, "http://"))

	page.visit(below + "/dead")
	page.await("h1", "^Sign in$")
	page.MustElement("#token").MustInput(adminToken)
	page.await("button", "^Sign in$").MustClick()
	page.await("tbody th a", "test:a") // where the visitor wanted to go
	cookies := page.MustCookies()
	if len(cookies) != 1 || cookies[0].Path != below {
		t.Errorf("the cookies are %+v, want one for %s", cookies, below)
	}
	page.await("nav a", "^Overview$").MustClick()
	page.await("#live", "keeps itself up to date")
	page.await("#charts[data-drawn] .u-legend", "confirmed")
	page.await("nav a", "^Events$").MustClick()
	page.MustElement("#state").MustSelect("dead")
	page.await("button", "^Search$").MustClick()
	page.MustElementR("#state option[selected]", "dead") // on the page that was asked for
	page.await("tbody th a", dead).MustClick()
	page.await("a", "^Discard…$").MustClick()
	page.MustElement("#reason").MustInput("test of a proxy")
	page.await("button", "them$").MustClick()
	page.await("#progress", "Done: 1 of 1 dead letter discarded")
	page.visit(below + "/events?id=" + dead)
	page.await("nav a", "^Tasks$").MustClick()
	page.await("a", "^notifications$").MustClick()
	page.await("button, a, span", "^Scheduled")
	page.see("tasks-behind-a-proxy")
	page.prefer("dark")
	page.MustReload()
	page.await("button, a, span", "^Scheduled")
	page.MustElement("html.dark")
	page.see("tasks-dark")
	page.await("nav a", "outboxd$").MustClick()
	page.await(".headline", ".")
	page.await("button", "^Sign out$").MustClick()
	page.await("h1", "^Sign in$")
	page.wantQuiet()
	p.stop()
}
