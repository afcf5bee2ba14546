package monitor_test

import (
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

const queuesPath = "/monitoring/tasks/api/queues"

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
	for _, part := range []string{`href="./monitoring/tasks/"`, `href="./readyz"`, `href="./metrics"`, `href="./signin?next=%2f"`, "1.2.3", "&lt;relay&gt;", "mind the &lt;queue&gt;", "or it &lt;forgets&gt;", "switch &lt;it&gt; off", "PostgreSQL cannot be reached", "Redis cannot be reached"} {
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
	if a.Status != http.StatusForbidden || !strings.Contains(a.Body, "runs without a way to sign in") || !strings.Contains(a.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	handlertest.WantProblem(t, s.Get("/"), http.StatusForbidden)
}

// One command of Redis would read a list of any length, and nobody else would be served meanwhile.
func TestTaskListsAreBounded(t *testing.T) {
	t.Parallel()
	s := handlertest.StartPages(t, nil)
	const list = queuesPath + "/default/pending_tasks"
	for query, want := range map[string]int{
		"": 200, "?size=1": 200, "?size=100&page=3": 200, "?size=many": 200, "?size=": 200,
		"?size=0": 422, "?size=-1": 422, "?size=101": 422, "?size=1000000000": 422, "?size=99999999999999999999": 422, "?s%69ze=0": 422,
		"?a=1%23&size=0": 422,
	} {
		if a := s.Get(list + query); a.Status != want {
			t.Errorf("%s: %d %s, want %d", query, a.Status, a.Body, want)
		}
	}
	// Asynqmon reads what stands after a #.
	if a := s.Raw("GET " + list + "?a=1#&size=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"); a.Status != http.StatusUnprocessableEntity {
		t.Errorf("after a #: %d %s", a.Status, a.Body)
	}
	if a := s.Raw("GET /monitoring/tasks/%zz HTTP/1.1\r\nHost: localhost\r\n\r\n"); a.Status != http.StatusBadRequest {
		t.Errorf("an address that cannot be decoded: %d %s", a.Status, a.Body)
	}
}

// Asynqmon answers 500 to these requests, but no server is away.
func TestARequestToAsynqmonThatCannotBeMet(t *testing.T) {
	t.Parallel()
	s := handlertest.StartPages(t, func(o *monitor.Options) { o.AdminToken = handlertest.AdminToken })
	admin := []string{"Authorization", "Bearer " + handlertest.AdminToken}
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{http.MethodGet, "/nowhere", 404},
		{http.MethodGet, "/nowhere/pending_tasks", 404},
		{http.MethodPost, "/default:resume", 409},
		{http.MethodPost, "/default:pause", 204},
		{http.MethodPost, "/default:pause", 409},
	} {
		a := s.Do(c.method, queuesPath+c.path, "", admin...)
		if c.want < http.StatusBadRequest {
			if a.Status != c.want {
				t.Errorf("%s %s: %d %s", c.method, c.path, a.Status, a.Body)
			}
			continue
		}
		handlertest.WantProblem(t, a, c.want)
	}
}
