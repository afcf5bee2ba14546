package handler_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/handler"
)

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// raw sends bytes as they are and reads one response.
func (s *site) raw(request string) answer {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, request); err != nil {
		s.t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	s, _ := startAPI(t, nil)
	if a := s.register(registerBody, "X-Request-ID", "one.two_3-A"); a.header.Get("X-Request-ID") != "one.two_3-A" {
		t.Errorf("answered %q", a.header.Get("X-Request-ID"))
	}
	wantProblem(t, s.register(registerBody, "X-Request-ID", "one.two_3-A"), http.StatusConflict)
	logged := s.log.lines("")
	if len(logged) < 3 {
		t.Fatalf("logged %v", logged)
	}
	for _, line := range logged {
		if line["request_id"] != "one.two_3-A" || line["component"] != "api" {
			t.Errorf("log line %v, want the request's ID and the component", line)
		}
	}
	for _, offered := range []string{"", "with space", "ü", strings.Repeat("x", 129), "a;b", `a"b`} {
		a := s.get("/nowhere", "X-Request-ID", offered)
		if got := a.header.Get("X-Request-ID"); !uuid.MatchString(got) {
			t.Errorf("offered %q, answered %q, want a new UUID", offered, got)
		}
	}
}

func TestHeadersCannotBeInjected(t *testing.T) {
	t.Parallel()
	s, _ := startAPI(t, nil)
	for _, end := range []string{"\n", "\r", "\r\n ", "\x00"} {
		a := s.raw("GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-ID: a" + end + "Set-Cookie: b=c\r\n\r\n")
		if a.header.Get("Set-Cookie") != "" || strings.Contains(a.header.Get("X-Request-ID"), "Set-Cookie") {
			t.Errorf("%q: injected: %v", end, a.header)
		}
	}
}

func TestRequestsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s, _ := startAPI(t, nil)
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"headers too large": {"GET / HTTP/1.1\r\nHost: x\r\nX-Filler: " + strings.Repeat("x", 17<<10) + "\r\n\r\n", 431},
		"body too large":    {"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 999999999\r\n\r\n", 413},
		"nonsense":          {"secret nonsense\r\n\r\n", 400},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.raw(c.request)
			wantProblem(t, a, c.status)
			if strings.Contains(a.body, "secret") {
				t.Errorf("quotes the request: %s", a.body)
			}
		})
	}
}

func TestAccessLog(t *testing.T) {
	t.Parallel()
	s, _ := startAPI(t, nil)
	created := s.register(registerBody)
	s.get(created.header.Get("Location"))
	s.get("/nowhere")
	var got []string
	for _, line := range s.log.lines("request") {
		got = append(got, fmt.Sprint(line["level"], " ", line["method"], " ", line["route"], " ", line["status"], " ", line["remote"]))
		if took, ok := line["duration_ms"].(float64); !ok || took <= 0 {
			t.Errorf("duration_ms %v", line["duration_ms"])
		}
		if line["status"] == 201.0 && line["bytes"] != float64(len(created.body)) {
			t.Errorf("bytes %v, want %d", line["bytes"], len(created.body))
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
	s, _ := startAPI(t, func(o *handler.APIOptions) { o.Registerer = registry })
	// The monitor of the same process joins the same metrics.
	monitor := listen(t, handler.Monitor(handler.MonitorOptions{Registry: registry, Logger: s.log.logger()}), s.log)
	s.get(s.register(registerBody).header.Get("Location"))
	s.register(registerBody)
	for i := range 3 {
		s.get(fmt.Sprintf("/scan/%d", i))
	}
	s.do("BREW", "/api/v1/users", "")
	s.do("BREW2", "/api/v1/users", "")
	monitor.get("/healthz")
	text := monitor.get("/metrics").body
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
	s, _ := startAPI(t, func(o *handler.APIOptions) { o.RateLimit = 3 })
	for i := range 3 {
		a := s.get("/api/v1/users/1", "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i))
		if a.status != 422 || a.header.Get("X-RateLimit-Limit") != "3" || a.header.Get("X-RateLimit-Remaining") != fmt.Sprint(2-i) {
			t.Fatalf("request %d: %d %v", i, a.status, a.header)
		}
	}
	a := s.get("/api/v1/users/1", "X-Forwarded-For", "192.0.2.99")
	wantProblem(t, a, http.StatusTooManyRequests)
	for name, most := range map[string]int{"Retry-After": 20, "X-RateLimit-Limit": 3, "X-RateLimit-Remaining": 0, "X-RateLimit-Reset": 60} {
		if got, err := strconv.Atoi(a.header.Get(name)); err != nil || got < 0 || got > most {
			t.Errorf("%s: %q, want at most %d", name, a.header.Get(name), most)
		}
	}
	if a := s.get("/docs"); a.status != http.StatusOK {
		t.Errorf("/docs: %d, want no limit outside /api/", a.status)
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
	s, _ := startAPI(t, func(o *handler.APIOptions) {
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
		{"nonsense", 422},                      // the proxy itself
		{"", 429},                              //
		{"192.0.2.3, nonsense, 10.1.2.3", 422}, // as far as it can be read
	} {
		if a := s.get("/api/v1/users/1", "X-Forwarded-For", c.forwarded); a.status != c.status {
			t.Errorf("X-Forwarded-For %q: %d, want %d", c.forwarded, a.status, c.status)
		}
	}
}
