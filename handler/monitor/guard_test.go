package monitor_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/handler/handlertest"
	"outboxd/handler/monitor"
)

const (
	queuesPath = "/monitoring/tasks/api/queues"
	pausePath  = "/monitoring/tasks/api/queues/default:pause"
)

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
		bearer      = who{"bearer", []string{"Authorization", "Bearer " + handlertest.AdminToken}}
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
		crossBearer = who{"bearer, cross-site", []string{"Authorization", "Bearer " + handlertest.AdminToken, "Sec-Fetch-Site", "cross-site"}}
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
		{handlertest.AdminToken, local, nobody, 200, 401},
		{handlertest.AdminToken, local, rebound, 401, 401},
		{handlertest.AdminToken, local, proxied, 401, 401},
		{handlertest.AdminToken, local, forged, 200, 401},
		{handlertest.AdminToken, local, wrongBearer, 401, 401},
		{handlertest.AdminToken, local, bearer, 200, 204},
		{handlertest.AdminToken, local, crossBearer, 200, 204},
		{handlertest.AdminToken, local, session, 200, 204},
		{handlertest.AdminToken, local, sameOrigin, 200, 204},
		{handlertest.AdminToken, local, crossSite, 200, 403},
		{handlertest.AdminToken, local, sameSite, 200, 403},
		{handlertest.AdminToken, local, oldSame, 200, 204},
		{handlertest.AdminToken, local, oldCross, 200, 403},
		{handlertest.AdminToken, public, nobody, 401, 401},
		{handlertest.AdminToken, public, forged, 401, 401},
		{handlertest.AdminToken, public, wrongBearer, 401, 401},
		{handlertest.AdminToken, public, bearer, 200, 204},
		{handlertest.AdminToken, public, session, 200, 204},
		{handlertest.AdminToken, public, reboundIn, 200, 204},
		{handlertest.AdminToken, public, crossSite, 200, 403},
	} {
		t.Run(fmt.Sprintf("token %v, %s, %s", c.token != "", c.address, c.who.name), func(t *testing.T) {
			t.Parallel()
			s := handlertest.StartPages(t, func(o *monitor.Options) { o.AdminToken, o.Address = c.token, c.address })
			headers := append([]string{}, c.who.headers...)
			for i, h := range headers {
				switch h {
				case "SESSION":
					headers[i] = s.Session()
				case "ORIGIN":
					headers[i] = s.URL
				}
			}
			for what, want := range map[string]int{read: c.read, write: c.write} {
				method, path := http.MethodGet, queuesPath
				if what == write {
					method, path = http.MethodPost, pausePath
				}
				a := s.Do(method, path, "", headers...)
				if want >= 400 {
					handlertest.WantProblem(t, a, want)
				} else if a.Status != want {
					t.Errorf("%s: %d %s, want %d", what, a.Status, a.Body, want)
				}
				if want == 401 && a.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s: no WWW-Authenticate", what)
				}
			}
		})
	}
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	s := handlertest.StartPages(t, func(o *monitor.Options) { o.AdminToken, o.Address = handlertest.AdminToken, "0.0.0.0:8081" })
	t.Run("leads back", func(t *testing.T) {
		a := s.Get("/monitoring/tasks/queues/default?status=retry", "Accept", "text/html,*/*;q=0.8")
		to := a.Header.Get("Location")
		if a.Status != http.StatusSeeOther || !strings.HasPrefix(to, "../../../signin?next=") {
			t.Fatalf("%d to %q", a.Status, to)
		}
		form := s.Get(strings.TrimPrefix(to, "../../.."))
		next := regexp.MustCompile(`name="next" value="([^"]*)"`).FindStringSubmatch(form.Body)
		if form.Status != http.StatusOK || next == nil {
			t.Fatalf("%d %s", form.Status, form.Body)
		}
		a = s.SignIn(handlertest.AdminToken, next[1])
		if got := a.Header.Get("Location"); got != "./monitoring/tasks/queues/default?status=retry" {
			t.Errorf("led to %q", got)
		}
		cookie, err := http.ParseSetCookie(a.Header.Get("Set-Cookie"))
		if err != nil || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "" || cookie.Secure ||
			time.Until(cookie.Expires) > 12*time.Hour || strings.Contains(cookie.Value, handlertest.AdminToken) {
			t.Errorf("cookie %+v, %v", cookie, err)
		}
	})
	t.Run("over TLS", func(t *testing.T) {
		if a := s.SignIn(handlertest.AdminToken, "/", "X-Forwarded-Proto", "https"); !strings.Contains(strings.ToLower(a.Header.Get("Set-Cookie")), "secure") {
			t.Errorf("cookie %q", a.Header.Get("Set-Cookie"))
		}
	})
	t.Run("never leads elsewhere", func(t *testing.T) {
		for _, next := range []string{"//evil.example", "https://evil.example", `/\evil.example`} {
			if got := s.SignIn(handlertest.AdminToken, next).Header.Get("Location"); got != "./" {
				t.Errorf("%q led to %q", next, got)
			}
		}
	})
	t.Run("from another site", func(t *testing.T) {
		handlertest.WantProblem(t, s.SignIn(handlertest.AdminToken, "/", "Sec-Fetch-Site", "cross-site"), http.StatusForbidden)
	})
	t.Run("sign out", func(t *testing.T) {
		handlertest.WantProblem(t, s.Do(http.MethodPost, "/signout", "", "Cookie", s.Session(), "Sec-Fetch-Site", "cross-site"), http.StatusForbidden)
		a := s.Do(http.MethodPost, "/signout", "", "Cookie", s.Session())
		cookie, err := http.ParseSetCookie(a.Header.Get("Set-Cookie"))
		if a.Status != http.StatusSeeOther || err != nil || cookie.Value != "" || cookie.Expires.After(time.Now()) && cookie.MaxAge >= 0 {
			t.Errorf("%d, cookie %+v, %v", a.Status, cookie, err)
		}
	})
	t.Run("guessing", func(t *testing.T) { // last: it uses up this address
		for i := range monitor.MaxFailures {
			a := s.SignIn("guess", "/")
			if a.Status != http.StatusUnauthorized || a.Header.Get("Set-Cookie") != "" || !strings.Contains(a.Body, "wrong") {
				t.Fatalf("guess %d: %d %s", i, a.Status, a.Body)
			}
		}
		if a := s.SignIn(handlertest.AdminToken, "/"); a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%d %v, want 429 even for the right token", a.Status, a.Header)
		}
		handlertest.WantProblem(t, s.Get(queuesPath, "Authorization", "Bearer "+handlertest.AdminToken), http.StatusTooManyRequests)
	})
	if strings.Contains(s.Log.String(), handlertest.AdminToken) {
		t.Error("the token was logged")
	}
}

func TestWithoutTokenThereIsNoSignIn(t *testing.T) {
	t.Parallel()
	s := handlertest.StartPages(t, nil)
	handlertest.WantProblem(t, s.Get("/signin"), http.StatusNotFound)
	handlertest.WantProblem(t, s.SignIn("", "/"), http.StatusNotFound)
	if home := s.Get("/"); strings.Contains(home.Body, "signin") {
		t.Error("the page offers to sign in")
	}
}

func TestTaskPages(t *testing.T) {
	t.Parallel()
	s := handlertest.StartPages(t, func(o *monitor.Options) { o.AdminToken = handlertest.AdminToken })
	if a := s.Get("/monitoring/tasks?status=retry"); a.Status != http.StatusPermanentRedirect || a.Header.Get("Location") != "tasks/" {
		t.Errorf("%d to %q", a.Status, a.Header.Get("Location"))
	}
	for _, path := range []string{"/monitoring/tasksfoo", "/monitoring/tasksfoo/", "/monitoring/", "/monitoring"} {
		handlertest.WantProblem(t, s.Get(path), http.StatusNotFound)
	}
	page := s.Get("/monitoring/tasks/")
	if page.Status != http.StatusOK || !strings.Contains(page.Header.Get("Content-Type"), "text/html") || !strings.Contains(page.Body, "/monitoring/tasks") {
		t.Fatalf("%d %s", page.Status, page.Body)
	}
	policies := page.Header.Values("Content-Security-Policy")
	if len(policies) != 1 || !strings.HasPrefix(policies[0], "default-src 'self'; ") || strings.Contains(policies[0], "http") {
		t.Errorf("policy %q", policies)
	}
	if !strings.Contains(page.Body, `<nav id="outboxd" aria-label="outboxd"><a href="/"`) {
		t.Error("no way leads back to the dashboard")
	}
	if strings.Contains(page.Body, `="/monitoring`) || strings.Contains(page.Body, `i.p="`) {
		t.Errorf("an address is not relative in %s", page.Body)
	}
	script := regexp.MustCompile(`src="\.\./\.\.(/monitoring/tasks/static/js/[^"]+)"`).FindStringSubmatch(page.Body)
	if script == nil {
		t.Fatalf("no script in %s", page.Body)
	}
	if a := s.Get(script[1]); a.Status != http.StatusOK || !strings.Contains(a.Header.Get("Content-Type"), "javascript") || len(a.Body) < 10_000 {
		t.Errorf("%d, %d bytes of %s", a.Status, len(a.Body), a.Header.Get("Content-Type"))
	}
	if a := s.Get(queuesPath); a.Status != http.StatusOK || !strings.Contains(a.Body, `"queue":"default"`) {
		t.Errorf("queues: %d %s", a.Status, a.Body)
	}
	if a := s.Get("/monitoring/tasks/api/queues/default/pending_tasks"); !strings.Contains(a.Body, "task-1") {
		t.Errorf("tasks: %d %s", a.Status, a.Body)
	}
	if a := s.Get("/monitoring/tasks/api/redis_info"); a.Status != http.StatusOK || !strings.Contains(a.Body, "redis_version") {
		t.Errorf("redis: %d %s", a.Status, a.Body)
	}
	deletion := []string{http.MethodDelete, "/monitoring/tasks/api/queues/default/pending_tasks/task-1"}
	handlertest.WantProblem(t, s.Do(deletion[0], deletion[1], ""), http.StatusUnauthorized)
	if a := s.Do(deletion[0], deletion[1], "", "Authorization", "Bearer "+handlertest.AdminToken); a.Status != http.StatusNoContent {
		t.Errorf("delete: %d %s", a.Status, a.Body)
	}
	if a := s.Get("/monitoring/tasks/api/queues/default/pending_tasks"); strings.Contains(a.Body, "task-1") {
		t.Errorf("still there: %s", a.Body)
	}
	for _, line := range s.Log.Lines("request") {
		if line["route"] == "/monitoring/tasks/*" && (line["level"] == "DEBUG") != (line["method"] == "GET") {
			t.Errorf("%v is logged at %v: the page polls, what it changes must show", line["method"], line["level"])
		}
	}
}

func TestTaskPagesSurviveRedis(t *testing.T) {
	t.Parallel()
	pages := monitor.NewTaskPages(asynq.RedisClientOpt{Network: "unix", Addr: "/nowhere/redis.sock"})
	t.Cleanup(func() { _ = pages.Close() })
	s := handlertest.StartMonitor(t, func(o *monitor.Options) { o.Pages = pages })
	a := s.Get(queuesPath)
	handlertest.WantProblem(t, a, http.StatusServiceUnavailable)
	if strings.Contains(a.Body, "nowhere") || a.Header.Get("Retry-After") == "" {
		t.Errorf("%v %s", a.Header, a.Body)
	}
	if !strings.Contains(s.Log.String(), "/nowhere/redis.sock") {
		t.Error("the cause was not logged")
	}
	if a := s.Get("/monitoring/tasks/"); a.Status != http.StatusOK {
		t.Errorf("the page itself: %d", a.Status)
	}
}

func TestHomePage(t *testing.T) {
	t.Parallel()
	s := handlertest.StartPages(t, func(o *monitor.Options) {
		o.AdminToken, o.Version, o.Roles = handlertest.AdminToken, "1.2.3", []string{"api", "<relay>"}
		o.Sources.Look = func(time.Duration) diagnosis.Sight {
			sight := diagnosis.Blind()
			sight.Findings = append(sight.Findings, domain.Finding{Level: domain.FindingWarning, Found: "mind the <queue>", Consequence: "or it <forgets>", Remedy: "switch <it> off"})
			return sight
		}
	})
	page := s.Get("/")
	for _, part := range []string{`href="./monitoring/tasks/"`, `href="./readyz"`, `href="./metrics"`, `href="./signin"`, "1.2.3", "&lt;relay&gt;", "mind the &lt;queue&gt;", "or it &lt;forgets&gt;", "switch &lt;it&gt; off", "PostgreSQL cannot be reached", "Redis cannot be reached"} {
		if !strings.Contains(page.Body, part) {
			t.Errorf("%s is missing in %s", part, page.Body)
		}
	}
	if strings.Contains(page.Body, "http:") || strings.Contains(page.Body, "https:") || strings.Contains(page.Body, "<style") || strings.Contains(page.Body, " style=") {
		t.Errorf("the page needs more than this server and its policy: %s", page.Body)
	}
	links := regexp.MustCompile(`(?:src|href)="\.(/assets/[^"]+)"`).FindAllStringSubmatch(page.Body, -1)
	if len(links) < 4 {
		t.Errorf("assets: %q", links)
	}
	for _, link := range links {
		if a := s.Get(link[1]); a.Status != http.StatusOK || !strings.Contains(a.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", link[1], a.Status, a.Header)
		}
	}
	if page := s.Get("/", "Cookie", s.Session()); !strings.Contains(page.Body, "Sign out") {
		t.Errorf("no way to sign out: %s", page.Body)
	}
}

func TestPeopleGetPagesAboutErrors(t *testing.T) {
	t.Parallel()
	s := handlertest.StartPages(t, func(o *monitor.Options) { o.Address = "0.0.0.0:8081" })
	a := s.Get("/", "Accept", "text/html,*/*;q=0.8")
	if a.Status != http.StatusForbidden || !strings.Contains(a.Body, "runs without an admin token") || !strings.Contains(a.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	handlertest.WantProblem(t, s.Get("/"), http.StatusForbidden)
}
