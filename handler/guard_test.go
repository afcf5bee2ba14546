package handler_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/domain"
	"outboxd/handler"
	"outboxd/repository/repositorytest"
)

const (
	adminToken = "an admin token of some length"
	queuesPath = "/monitoring/tasks/api/queues"
	pausePath  = "/monitoring/tasks/api/queues/default:pause"
)

// startPages serves a monitor with pages on a Redis that has one task.
func startPages(t *testing.T, change func(*handler.MonitorOptions)) *site {
	t.Helper()
	redis, err := asynq.ParseRedisURI(repositorytest.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	client := asynq.NewClient(redis)
	t.Cleanup(func() { _ = client.Close() })
	if _, err := client.EnqueueContext(t.Context(), asynq.NewTask("email:send_notification", []byte(`{"user_id":"u"}`)), asynq.TaskID("task-1")); err != nil {
		t.Fatal(err)
	}
	pages := handler.NewTaskPages(redis)
	t.Cleanup(func() {
		if err := pages.Close(); err != nil {
			t.Error(err)
		}
	})
	return startMonitor(t, func(o *handler.MonitorOptions) {
		o.Pages = pages
		if change != nil {
			change(o)
		}
	})
}

func (s *site) signIn(token, next string, headers ...string) answer {
	s.t.Helper()
	form := url.Values{"token": {token}, "next": {next}}.Encode()
	return s.do(http.MethodPost, "/signin", form, append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...)
}

// session signs in and returns the Cookie header.
func (s *site) session() string {
	s.t.Helper()
	a := s.signIn(adminToken, "/")
	value, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	if a.status != http.StatusSeeOther || value == "" {
		s.t.Fatalf("sign in: %d %v", a.status, a.header)
	}
	return value
}

// TestAccess is the whole matrix: who may read and write the pages, from where.
func TestAccess(t *testing.T) {
	t.Parallel()
	const (
		local, public = "127.0.0.1:8081", "0.0.0.0:8081"
		read, write   = "read", "write"
	)
	type who struct {
		name    string
		headers []string
	}
	var (
		nobody      = who{"nobody", nil}
		bearer      = who{"bearer", []string{"Authorization", "Bearer " + adminToken}}
		wrongBearer = who{"wrong bearer", []string{"Authorization", "Bearer guess"}}
		session     = who{"session", []string{"Cookie", "SESSION"}}
		forged      = who{"forged session", []string{"Cookie", "outboxd_session=9999999999.AAAA"}}
		rebound     = who{"rebound name", []string{"Host", "evil.example"}}
		proxied     = who{"through a proxy", []string{"X-Forwarded-For", "192.0.2.1"}}
		sameOrigin  = who{"session, same origin", []string{"Cookie", "SESSION", "Sec-Fetch-Site", "same-origin"}}
		crossSite   = who{"session, cross-site", []string{"Cookie", "SESSION", "Sec-Fetch-Site", "cross-site"}}
		sameSite    = who{"session, other port", []string{"Cookie", "SESSION", "Sec-Fetch-Site", "same-site"}}
		oldSame     = who{"session, own Origin", []string{"Cookie", "SESSION", "Origin", "ORIGIN"}}
		oldCross    = who{"session, other Origin", []string{"Cookie", "SESSION", "Origin", "https://evil.example"}}
		crossBearer = who{"bearer, cross-site", []string{"Authorization", "Bearer " + adminToken, "Sec-Fetch-Site", "cross-site"}}
		reboundIn   = who{"session, other name", []string{"Cookie", "SESSION", "Host", "outboxd.example"}}
	)
	for _, c := range []struct {
		token, address string
		who            who
		read, write    int
	}{
		{"", local, nobody, 200, 403},
		{"", local, rebound, 421, 403},
		{"", local, proxied, 421, 403},
		{"", local, bearer, 200, 403},
		{"", local, forged, 200, 403},
		{"", public, nobody, 403, 403},
		{"", public, bearer, 403, 403},
		{adminToken, local, nobody, 200, 401},
		{adminToken, local, rebound, 401, 401},
		{adminToken, local, proxied, 401, 401},
		{adminToken, local, forged, 200, 401},
		{adminToken, local, wrongBearer, 401, 401},
		{adminToken, local, bearer, 200, 204},
		{adminToken, local, crossBearer, 200, 204},
		{adminToken, local, session, 200, 204},
		{adminToken, local, sameOrigin, 200, 204},
		{adminToken, local, crossSite, 200, 403},
		{adminToken, local, sameSite, 200, 403},
		{adminToken, local, oldSame, 200, 204},
		{adminToken, local, oldCross, 200, 403},
		{adminToken, public, nobody, 401, 401},
		{adminToken, public, forged, 401, 401},
		{adminToken, public, wrongBearer, 401, 401},
		{adminToken, public, bearer, 200, 204},
		{adminToken, public, session, 200, 204},
		{adminToken, public, reboundIn, 200, 204},
		{adminToken, public, crossSite, 200, 403},
	} {
		t.Run(fmt.Sprintf("token %v, %s, %s", c.token != "", c.address, c.who.name), func(t *testing.T) {
			t.Parallel()
			s := startPages(t, func(o *handler.MonitorOptions) { o.AdminToken, o.Address = c.token, c.address })
			headers := append([]string{}, c.who.headers...)
			for i, h := range headers {
				switch h {
				case "SESSION":
					headers[i] = s.session()
				case "ORIGIN":
					headers[i] = s.url
				}
			}
			for what, want := range map[string]int{read: c.read, write: c.write} {
				method, path := http.MethodGet, queuesPath
				if what == write {
					method, path = http.MethodPost, pausePath
				}
				a := s.do(method, path, "", headers...)
				if want >= 400 {
					wantProblem(t, a, want)
				} else if a.status != want {
					t.Errorf("%s: %d %s, want %d", what, a.status, a.body, want)
				}
				if want == 401 && a.header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s: no WWW-Authenticate", what)
				}
			}
		})
	}
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	s := startPages(t, func(o *handler.MonitorOptions) { o.AdminToken, o.Address = adminToken, "0.0.0.0:8081" })
	t.Run("leads back", func(t *testing.T) {
		a := s.get("/monitoring/tasks/queues/default?status=retry", "Accept", "text/html,*/*;q=0.8")
		to := a.header.Get("Location")
		if a.status != http.StatusSeeOther || !strings.HasPrefix(to, "../../../signin?next=") {
			t.Fatalf("%d to %q", a.status, to)
		}
		form := s.get(strings.TrimPrefix(to, "../../.."))
		next := regexp.MustCompile(`name="next" value="([^"]*)"`).FindStringSubmatch(form.body)
		if form.status != http.StatusOK || next == nil {
			t.Fatalf("%d %s", form.status, form.body)
		}
		a = s.signIn(adminToken, next[1])
		if got := a.header.Get("Location"); got != "./monitoring/tasks/queues/default?status=retry" {
			t.Errorf("led to %q", got)
		}
		cookie, err := http.ParseSetCookie(a.header.Get("Set-Cookie"))
		if err != nil || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "" || cookie.Secure ||
			time.Until(cookie.Expires) > 12*time.Hour || strings.Contains(cookie.Value, adminToken) {
			t.Errorf("cookie %+v, %v", cookie, err)
		}
	})
	t.Run("over TLS", func(t *testing.T) {
		if a := s.signIn(adminToken, "/", "X-Forwarded-Proto", "https"); !strings.Contains(strings.ToLower(a.header.Get("Set-Cookie")), "secure") {
			t.Errorf("cookie %q", a.header.Get("Set-Cookie"))
		}
	})
	t.Run("never leads elsewhere", func(t *testing.T) {
		for _, next := range []string{"//evil.example", "https://evil.example", `/\evil.example`} {
			if got := s.signIn(adminToken, next).header.Get("Location"); got != "./" {
				t.Errorf("%q led to %q", next, got)
			}
		}
	})
	t.Run("from another site", func(t *testing.T) {
		wantProblem(t, s.signIn(adminToken, "/", "Sec-Fetch-Site", "cross-site"), http.StatusForbidden)
	})
	t.Run("sign out", func(t *testing.T) {
		wantProblem(t, s.do(http.MethodPost, "/signout", "", "Cookie", s.session(), "Sec-Fetch-Site", "cross-site"), http.StatusForbidden)
		a := s.do(http.MethodPost, "/signout", "", "Cookie", s.session())
		cookie, err := http.ParseSetCookie(a.header.Get("Set-Cookie"))
		if a.status != http.StatusSeeOther || err != nil || cookie.Value != "" || cookie.Expires.After(time.Now()) && cookie.MaxAge >= 0 {
			t.Errorf("%d, cookie %+v, %v", a.status, cookie, err)
		}
	})
	t.Run("guessing", func(t *testing.T) { // last: it uses up this address
		for i := range handler.MaxFailures {
			a := s.signIn("guess", "/")
			if a.status != http.StatusUnauthorized || a.header.Get("Set-Cookie") != "" || !strings.Contains(a.body, "wrong") {
				t.Fatalf("guess %d: %d %s", i, a.status, a.body)
			}
		}
		if a := s.signIn(adminToken, "/"); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%d %v, want 429 even for the right token", a.status, a.header)
		}
		wantProblem(t, s.get(queuesPath, "Authorization", "Bearer "+adminToken), http.StatusTooManyRequests)
	})
	if strings.Contains(s.log.String(), adminToken) {
		t.Error("the token was logged")
	}
}

func TestWithoutTokenThereIsNoSignIn(t *testing.T) {
	t.Parallel()
	s := startPages(t, nil)
	wantProblem(t, s.get("/signin"), http.StatusNotFound)
	wantProblem(t, s.signIn("", "/"), http.StatusNotFound)
	if home := s.get("/"); strings.Contains(home.body, "signin") {
		t.Error("the page offers to sign in")
	}
}

func TestTaskPages(t *testing.T) {
	t.Parallel()
	s := startPages(t, func(o *handler.MonitorOptions) { o.AdminToken = adminToken })
	if a := s.get("/monitoring/tasks?status=retry"); a.status != http.StatusPermanentRedirect || a.header.Get("Location") != "tasks/" {
		t.Errorf("%d to %q", a.status, a.header.Get("Location"))
	}
	for _, path := range []string{"/monitoring/tasksfoo", "/monitoring/tasksfoo/", "/monitoring/", "/monitoring"} {
		wantProblem(t, s.get(path), http.StatusNotFound)
	}
	page := s.get("/monitoring/tasks/")
	if page.status != http.StatusOK || !strings.Contains(page.header.Get("Content-Type"), "text/html") || !strings.Contains(page.body, "/monitoring/tasks") {
		t.Fatalf("%d %s", page.status, page.body)
	}
	policies := page.header.Values("Content-Security-Policy")
	if len(policies) != 1 || !strings.HasPrefix(policies[0], "default-src 'self'; ") || strings.Contains(policies[0], "http") {
		t.Errorf("policy %q", policies)
	}
	if !strings.Contains(page.body, `<nav id="outboxd" aria-label="outboxd"><a href="/"`) {
		t.Error("no way leads back to the dashboard")
	}
	if strings.Contains(page.body, `="/monitoring`) || strings.Contains(page.body, `i.p="`) {
		t.Errorf("an address is not relative in %s", page.body)
	}
	script := regexp.MustCompile(`src="\.\./\.\.(/monitoring/tasks/static/js/[^"]+)"`).FindStringSubmatch(page.body)
	if script == nil {
		t.Fatalf("no script in %s", page.body)
	}
	if a := s.get(script[1]); a.status != http.StatusOK || !strings.Contains(a.header.Get("Content-Type"), "javascript") || len(a.body) < 10_000 {
		t.Errorf("%d, %d bytes of %s", a.status, len(a.body), a.header.Get("Content-Type"))
	}
	if a := s.get(queuesPath); a.status != http.StatusOK || !strings.Contains(a.body, `"queue":"default"`) {
		t.Errorf("queues: %d %s", a.status, a.body)
	}
	if a := s.get("/monitoring/tasks/api/queues/default/pending_tasks"); !strings.Contains(a.body, "task-1") {
		t.Errorf("tasks: %d %s", a.status, a.body)
	}
	if a := s.get("/monitoring/tasks/api/redis_info"); a.status != http.StatusOK || !strings.Contains(a.body, "redis_version") {
		t.Errorf("redis: %d %s", a.status, a.body)
	}
	deletion := []string{http.MethodDelete, "/monitoring/tasks/api/queues/default/pending_tasks/task-1"}
	wantProblem(t, s.do(deletion[0], deletion[1], ""), http.StatusUnauthorized)
	if a := s.do(deletion[0], deletion[1], "", "Authorization", "Bearer "+adminToken); a.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	if a := s.get("/monitoring/tasks/api/queues/default/pending_tasks"); strings.Contains(a.body, "task-1") {
		t.Errorf("still there: %s", a.body)
	}
	for _, line := range s.log.lines("request") {
		if line["route"] == "/monitoring/tasks/*" && (line["level"] == "DEBUG") != (line["method"] == "GET") {
			t.Errorf("%v is logged at %v: the page polls, what it changes must show", line["method"], line["level"])
		}
	}
}

func TestTaskPagesSurviveRedis(t *testing.T) {
	t.Parallel()
	pages := handler.NewTaskPages(asynq.RedisClientOpt{Network: "unix", Addr: "/nowhere/redis.sock"})
	t.Cleanup(func() { _ = pages.Close() })
	s := startMonitor(t, func(o *handler.MonitorOptions) { o.Pages = pages })
	a := s.get(queuesPath)
	wantProblem(t, a, http.StatusServiceUnavailable)
	if strings.Contains(a.body, "nowhere") || a.header.Get("Retry-After") == "" {
		t.Errorf("%v %s", a.header, a.body)
	}
	if !strings.Contains(s.log.String(), "/nowhere/redis.sock") {
		t.Error("the cause was not logged")
	}
	if a := s.get("/monitoring/tasks/"); a.status != http.StatusOK {
		t.Errorf("the page itself: %d", a.status)
	}
}

func TestHomePage(t *testing.T) {
	t.Parallel()
	s := startPages(t, func(o *handler.MonitorOptions) {
		o.AdminToken, o.Version, o.Roles = adminToken, "1.2.3", []string{"api", "<relay>"}
		o.Sources.Findings = func() []domain.Finding {
			return []domain.Finding{{Level: domain.FindingWarning, Found: "mind the <queue>", Consequence: "or it <forgets>", Remedy: "switch <it> off"}}
		}
	})
	page := s.get("/")
	for _, part := range []string{`href="./monitoring/tasks/"`, `href="./readyz"`, `href="./metrics"`, `href="./signin"`, "1.2.3", "&lt;relay&gt;", "mind the &lt;queue&gt;", "or it &lt;forgets&gt;", "switch &lt;it&gt; off", "PostgreSQL cannot be read", "Redis cannot be reached"} {
		if !strings.Contains(page.body, part) {
			t.Errorf("%s is missing in %s", part, page.body)
		}
	}
	if strings.Contains(page.body, "http:") || strings.Contains(page.body, "https:") || strings.Contains(page.body, "<style") || strings.Contains(page.body, " style=") {
		t.Errorf("the page needs more than this server and its policy: %s", page.body)
	}
	links := regexp.MustCompile(`(?:src|href)="\.(/assets/[^"]+)"`).FindAllStringSubmatch(page.body, -1)
	if len(links) < 4 {
		t.Errorf("assets: %q", links)
	}
	for _, link := range links {
		if a := s.get(link[1]); a.status != http.StatusOK || !strings.Contains(a.header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", link[1], a.status, a.header)
		}
	}
	if page := s.get("/", "Cookie", s.session()); !strings.Contains(page.body, "Sign out") {
		t.Errorf("no way to sign out: %s", page.body)
	}
}

func TestPeopleGetPagesAboutErrors(t *testing.T) {
	t.Parallel()
	s := startPages(t, func(o *handler.MonitorOptions) { o.Address = "0.0.0.0:8081" })
	a := s.get("/", "Accept", "text/html,*/*;q=0.8")
	if a.status != http.StatusForbidden || !strings.Contains(a.body, "runs without an admin token") || !strings.Contains(a.header.Get("Content-Type"), "text/html") {
		t.Errorf("%d %s", a.status, a.body)
	}
	wantProblem(t, s.get("/"), http.StatusForbidden)
}
