package signin_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"outboxd/domain/access"
	"outboxd/handler/handlertest"
	"outboxd/handler/monitor"
	"outboxd/handler/signin"
)

// A proxy on the same machine asks the monitor at a loopback address, with a loopback name.
// If it counted as a user of this machine, all clients of the proxy could read the pages.
func TestAProxyIsNoUserOfThisMachine(t *testing.T) {
	t.Parallel()
	s := handlertest.StartPages(t, func(o *monitor.Options) { o.AdminToken = handlertest.AdminToken })
	if a := s.Get(queuesPath, "Host", "localhost:8081", "X-Request-Id", "1"); a.Status != http.StatusOK {
		t.Fatalf("a user of this machine: %d %s", a.Status, a.Body)
	}
	for _, header := range []string{
		"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "x-forwarded-proto", "X-Forwarded-Server", "X-Forwarded-User",
		"X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP",
	} {
		handlertest.WantProblem(t, s.Get(queuesPath, "Host", "localhost:8081", header, "192.0.2.1"), http.StatusUnauthorized)
	}
	for version, want := range map[string]int{"1.0": http.StatusUnauthorized, "1.1": http.StatusOK} {
		if got := ask(t, s, version); got != want {
			t.Errorf("in HTTP/%s: %d, want %d", version, got, want)
		}
	}
}

// ask sends what nginx sends without further configuration, in this version of HTTP, and returns
// the status.
func ask(t *testing.T, s *handlertest.Site, version string) int {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/%s\r\nHost: 127.0.0.1:8081\r\nConnection: close\r\n\r\n", queuesPath, version); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	return answer.StatusCode
}

// TestTheConfigurationShowsAProxy has monitors on loopback addresses. If the configuration shows
// that people come through a proxy, a local client without a sign-in may not read.
func TestTheConfigurationShowsAProxy(t *testing.T) {
	t.Parallel()
	oidc := func(redirect string) func(*monitor.Options) {
		return func(o *monitor.Options) {
			o.OIDC = signin.OIDC{Issuer: "https://sso.example.com", RedirectURL: redirect}
		}
	}
	for name, c := range map[string]struct {
		change func(*monitor.Options)
		want   int
	}{
		"people come back to another address": {oidc("https://outboxd.example.com/callback"), http.StatusUnauthorized},
		"people come back to this machine":    {oidc("http://localhost:8081/callback"), http.StatusOK},
		"people come back where they were":    {oidc(""), http.StatusOK},
		"a proxy names people": {func(o *monitor.Options) {
			o.IdentityHeader, o.IdentityRole, o.TrustedProxies = "Remote-User", access.Viewer, loopback
		}, http.StatusForbidden},
		"a proxy of the API": {func(o *monitor.Options) { o.TrustedProxies = loopback }, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if a := handlertest.StartPages(t, c.change).Get(queuesPath); a.Status != c.want {
				t.Errorf("%d %s, want %d", a.Status, a.Body, c.want)
			}
		})
	}
}
