package handler_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/handler"
	"outboxd/handler/handlertest"
	"outboxd/handler/monitor"
	"outboxd/handler/registration"
)

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestRequestID(t *testing.T) {
	t.Parallel()
	s, _ := handlertest.StartAPI(t, nil)
	if a := s.Register(handlertest.RegisterBody, "X-Request-ID", "one.two_3-A"); a.Header.Get("X-Request-ID") != "one.two_3-A" {
		t.Errorf("answered %q", a.Header.Get("X-Request-ID"))
	}
	handlertest.WantProblem(t, s.Register(handlertest.RegisterBody, "X-Request-ID", "one.two_3-A"), http.StatusConflict)
	logged := s.Log.Lines("")
	if len(logged) < 3 {
		t.Fatalf("logged %v", logged)
	}
	for _, line := range logged {
		if line["request_id"] != "one.two_3-A" || line["component"] != "api" {
			t.Errorf("log line %v, want the request's ID and the component", line)
		}
	}
	for _, offered := range []string{"", "with space", "ü", strings.Repeat("x", 129), "a;b", `a"b`} {
		a := s.Get("/nowhere", "X-Request-ID", offered)
		if got := a.Header.Get("X-Request-ID"); !uuid.MatchString(got) {
			t.Errorf("offered %q, answered %q, want a new UUID", offered, got)
		}
	}
}

func TestHeadersCannotBeInjected(t *testing.T) {
	t.Parallel()
	s, _ := handlertest.StartAPI(t, nil)
	for _, end := range []string{"\n", "\r", "\r\n ", "\x00"} {
		a := s.Raw("GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-ID: a" + end + "Set-Cookie: b=c\r\n\r\n")
		if a.Header.Get("Set-Cookie") != "" || strings.Contains(a.Header.Get("X-Request-ID"), "Set-Cookie") {
			t.Errorf("%q: injected: %v", end, a.Header)
		}
	}
}

func TestRequestsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s, _ := handlertest.StartAPI(t, nil)
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"headers too large": {"GET / HTTP/1.1\r\nHost: x\r\nX-Filler: " + strings.Repeat("x", 17<<10) + "\r\n\r\n", 431},
		"body too large":    {"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 999999999\r\n\r\n", 413},
		"nonsense":          {"secret nonsense\r\n\r\n", 400},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.Raw(c.request)
			handlertest.WantProblem(t, a, c.status)
			if strings.Contains(a.Body, "secret") {
				t.Errorf("quotes the request: %s", a.Body)
			}
		})
	}
}

func TestAccessLog(t *testing.T) {
	t.Parallel()
	s, _ := handlertest.StartAPI(t, nil)
	created := s.Register(handlertest.RegisterBody)
	s.Get(created.Header.Get("Location"))
	s.Get("/nowhere")
	var got []string
	for _, line := range s.Log.Lines("request") {
		got = append(got, fmt.Sprint(line["level"], " ", line["method"], " ", line["route"], " ", line["status"], " ", line["remote"]))
		if took, ok := line["duration_ms"].(float64); !ok || took <= 0 {
			t.Errorf("duration_ms %v", line["duration_ms"])
		}
		if line["status"] == 201.0 && line["bytes"] != float64(len(created.Body)) {
			t.Errorf("bytes %v, want %d", line["bytes"], len(created.Body))
		}
	}
	want := []string{
		"INFO POST /api/v1/users 201 127.0.0.1",
		"INFO GET /api/v1/users/:id 200 127.0.0.1",
		"INFO GET unmatched 404 127.0.0.1",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("logged\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestHTTPMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	s, _ := handlertest.StartAPI(t, func(o *registration.Options) { o.Registerer = registry })
	// The monitor of the same process joins the same metrics.
	monitor := handlertest.Listen(t, monitor.New(monitor.Options{Registry: registry, Logger: s.Log.Logger()}), s.Log)
	s.Get(s.Register(handlertest.RegisterBody).Header.Get("Location"))
	s.Register(handlertest.RegisterBody)
	for i := range 3 {
		s.Get(fmt.Sprintf("/scan/%d", i))
	}
	s.Do("BREW", "/api/v1/users", "")
	s.Do("BREW2", "/api/v1/users", "")
	monitor.Get("/healthz")
	text := monitor.Get("/metrics").Body
	var got []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "outboxd_http_requests_total{") {
			got = append(got, strings.TrimSpace(strings.TrimPrefix(line, "outboxd_http_requests_total")))
		}
	}
	want := []string{
		`{code="200",method="GET",route="/api/v1/users/:id"} 1`,
		`{code="200",method="GET",route="/healthz"} 1`,
		`{code="201",method="POST",route="/api/v1/users"} 1`,
		`{code="404",method="GET",route="unmatched"} 3`,
		`{code="405",method="other",route="unmatched"} 2`,
		`{code="409",method="POST",route="/api/v1/users"} 1`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("counted\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := strings.Count(text, "outboxd_http_request_duration_seconds_count{"); got != 5 {
		t.Errorf("%d duration series, want 5", got)
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	s, _ := handlertest.StartAPI(t, func(o *registration.Options) { o.RateLimit = 3 })
	for i := range 3 {
		a := s.Get("/api/v1/users/1", "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i))
		if a.Status != 422 || a.Header.Get("X-RateLimit-Limit") != "3" || a.Header.Get("X-RateLimit-Remaining") != fmt.Sprint(2-i) {
			t.Fatalf("request %d: %d %v", i, a.Status, a.Header)
		}
	}
	a := s.Get("/api/v1/users/1", "X-Forwarded-For", "192.0.2.99")
	handlertest.WantProblem(t, a, http.StatusTooManyRequests)
	for name, most := range map[string]int{"Retry-After": 20, "X-RateLimit-Limit": 3, "X-RateLimit-Remaining": 0, "X-RateLimit-Reset": 60} {
		if got, err := strconv.Atoi(a.Header.Get(name)); err != nil || got < 0 || got > most {
			t.Errorf("%s: %q, want at most %d", name, a.Header.Get(name), most)
		}
	}
	if a := s.Get("/docs"); a.Status != http.StatusOK {
		t.Errorf("/docs: %d, want no limit outside /api/", a.Status)
	}
}

func TestRateLimitRefillsAndIsBounded(t *testing.T) {
	t.Parallel()
	l, now := handler.NewRateLimit(6), time.Now()
	for range 6 {
		if !l.Take("one", now) {
			t.Fatal("refused within the limit")
		}
	}
	if l.Take("one", now.Add(9*time.Second)) {
		t.Error("a seventh request was allowed within ten seconds")
	}
	if !l.Take("one", now.Add(11*time.Second)) {
		t.Error("refused although one is due every ten seconds")
	}
	if !l.Take("two", now) {
		t.Error("another client was refused")
	}
	for i := range 25_000 {
		l.Take(fmt.Sprint(i), now)
	}
	if got := l.Remembered(); got > 10_000 {
		t.Errorf("remembers %d clients", got)
	}
}

func TestRateLimitBehindAProxy(t *testing.T) {
	t.Parallel()
	s, _ := handlertest.StartAPI(t, func(o *registration.Options) {
		o.RateLimit = 1
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	for _, c := range []struct {
		forwarded string
		status    int
	}{
		{"192.0.2.1", 422},
		{"192.0.2.1", 429},
		{"192.0.2.2", 422},
		{"192.0.2.1, 10.1.2.3", 429},           // through two trusted proxies
		{"198.51.100.7, 192.0.2.2", 429},       // what the client itself wrote counts for nothing
		{"2001:db8:1:2::1", 422},               //
		{"2001:db8:1:2:ffff::9", 429},          // one /64 is one client
		{"2001:db8:1:3::1", 422},               //
		{"nonsense", 422},                      // counts as the proxy itself
		{"", 429},                              //
		{"192.0.2.3, nonsense, 10.1.2.3", 422}, // as far as it can be read
		{"192.0.2.4:5678", 422},                // some proxies add the port
		{"192.0.2.4:1", 429},                   //
		{"192.0.2.4, 10.1.2.3:80", 429},        //
		{"[2001:db8:1:4::1]:5678", 422},        //
		{"[2001:db8:1:4::2]", 429},             //
	} {
		if a := s.Get("/api/v1/users/1", "X-Forwarded-For", c.forwarded); a.Status != c.status {
			t.Errorf("X-Forwarded-For %q: %d, want %d", c.forwarded, a.Status, c.status)
		}
	}
}
