package app_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain/access"
)

const adminToken = "a token for tests only"

// TestPages looks at everything that outboxd shows to people, with a browser.
func TestPages(t *testing.T) {
	t.Parallel()
	// A receiver that fails leaves a task that waits for its next attempt.
	calls := make(chan struct{}, 10)
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls <- struct{}{}
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(failing.Close)
	r := &receiver{Server: failing, called: calls}
	databaseURL, redisURL := schematest.Database(t), servertest.Redis(t)
	p := start(t, append(on(databaseURL, redisURL, t.TempDir()), append(r.flags(), "--admin-token="+adminToken)...)...)
	register(t, p.api, "ada@example.com")
	r.awaitCall(t)
	p.awaitLog("a task failed and is tried again")
	var event string
	openLedger(t, databaseURL).scan(&event, `SELECT id::text FROM outbox_sent`)
	b := startBrowser(t)

	monitor := b.open(strings.TrimPrefix(p.monitor, "http://"))
	lookAtHome(monitor)
	lookAtTasks(monitor, event)
	signIn(monitor)
	runTask(monitor, event)
	r.awaitCall(t)
	signOut(monitor)

	lookAtDocs(b.open(strings.TrimPrefix(p.api, "http://")))
	var users int
	openLedger(t, databaseURL).scan(&users, `SELECT count(*) FROM users WHERE email IN ('ada@example.com', 'grace@example.com')`)
	if users != 2 {
		t.Errorf("%d users, want the one from before and the one that /docs registered", users)
	}
	p.stop()
}

func lookAtHome(p *tab) {
	p.t.Helper()
	p.visit("/")
	p.await(".headline", "All well|problem")
	p.await("th", "^PostgreSQL$")
	p.await("th", "^Redis$")
	p.await("a", "^Sign in$")
	p.see("home")
	p.wantQuiet()
}

func lookAtTasks(p *tab, event string) {
	p.t.Helper()
	p.visit("/")
	p.await("a", "^Tasks$").MustClick()
	p.await("a", "^notifications$")
	p.see("queues")
	p.visit("/monitoring/tasks/queues/notifications?status=retry")
	p.await("tbody th", event[:8])
	p.await("td", "email:send_notification")
	p.see("tasks")
	p.wantQuiet()
	if p.MustHas(checkbox) {
		p.t.Error("the page offers to change tasks without the token")
	}
	p.visit("/monitoring/tasks/queues/notifications/tasks/" + event)
	p.await("*", "the webhook's receiver does not take the message now")
	p.see("task")
	p.wantQuiet()
}

// checkbox is the box by which Asynqmon selects a task for an action.
const checkbox = `tbody input[type="checkbox"]`

func signIn(p *tab) {
	p.t.Helper()
	p.visit("/")
	p.await("a", "^Sign in$").MustClick()
	p.await("h1", "^Sign in$")
	p.see("sign-in")
	p.MustElement("#token").MustInput("not the token")
	p.await("button", "^Sign in$").MustClick()
	p.await(".error", "wrong")
	p.see("sign-in-wrong")
	p.MustElement("#token").MustInput(adminToken)
	p.await("button", "^Sign in$").MustClick()
	p.await("button", "^Sign out$")
	p.see("home-signed-in")
	p.wantQuiet("401") // for the wrong token
}

// person is somebody with a token: the token, and its entry in the configuration.
type person struct{ token, entry string }

func personOf(name string, role access.Role) person {
	token := access.NewToken()
	return person{token, access.Token{Identity: access.Identity{Name: name, Role: role}, Digest: access.DigestOf(token)}.Entry()}
}

// signInAs signs in with a token.
func signInAs(p *tab, token string) {
	p.t.Helper()
	p.visit("/signin")
	p.MustElement("#token").MustInput(token)
	p.await("button", "^Sign in$").MustClick()
	p.await("button", "^Sign out$")
}

// runTask lets a task run now, which needs a session of a signed-in user.
func runTask(p *tab, event string) {
	p.t.Helper()
	p.visit("/monitoring/tasks/queues/notifications?status=retry")
	p.await("tbody th", event[:8])
	p.MustElement(checkbox)
	p.MustElement("tbody td:last-child").MustHover() // or its buttons do not show
	p.MustElement(`tbody button[title="Run"]`)
	p.see("tasks-signed-in")
	p.MustElement("tbody td:last-child").MustHover()
	p.MustElement(`tbody button[title="Run"]`).MustClick()
	p.wantQuiet()
}

func signOut(p *tab) {
	p.t.Helper()
	p.visit("/")
	p.await("button", "^Sign out$").MustClick()
	p.await("a", "^Sign in$")
	p.wantQuiet()
}

func lookAtDocs(p *tab) {
	p.t.Helper()
	p.visit("/docs")
	p.await(".opblock-post .opblock-summary-path", `users`)
	p.await(".opblock-get .opblock-summary-path", `users.*id`)
	p.see("docs")
	p.prefer("dark")
	p.MustElement("html.dark-mode")
	if ground := p.MustEval(`() => getComputedStyle(document.documentElement).backgroundColor`).Str(); ground != "rgb(28, 32, 34)" {
		p.t.Errorf("in dark the ground is %s", ground)
	}
	p.see("docs-dark")
	p.prefer("light")
	p.MustElement("html:not(.dark-mode)")
	p.await(".opblock-post .opblock-summary-path", `users`).MustClick()
	body := p.MustElement(".opblock-post textarea.body-param__text")
	body.MustSelectAllText().MustInput(`{"email":"grace@example.com","password":"correct horse battery"}`)
	p.await(".opblock-post button.execute", "Execute").MustClick()
	p.await(".opblock-post .live-responses-table td.response-col_status", "^201")
	p.see("docs-tried")
	p.wantQuiet()
}
