package handler_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"outboxd/app/servertest"
	"outboxd/handler/handlertest"
	"outboxd/handler/monitor"
	"outboxd/handler/registration"
)

// sites starts the API, and a monitor with pages and an admin token. read limits how long a request may take to arrive,
// and how long a connection may be idle.
func sites(t *testing.T, read time.Duration) map[string]*handlertest.Site {
	t.Helper()
	api, _ := handlertest.StartAPI(t, func(o *registration.Options) { o.Timeouts.Read, o.Timeouts.Idle = read, read })
	return map[string]*handlertest.Site{
		"api": api,
		"monitor": handlertest.StartPages(t, func(o *monitor.Options) {
			o.AdminToken, o.Timeouts.Read, o.Timeouts.Idle = handlertest.AdminToken, read, read
		}),
	}
}

// TestSlowClientsAreCutOff sends nothing, or requests a byte at a time without an end. Each byte comes well within the
// time limit, but the limit is for a whole request.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	for name, s := range sites(t, 300*time.Millisecond) {
		for part, begin := range map[string]string{
			"nothing": "",
			"headers": "POST /signin HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
			"body":    "POST /signin HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n",
			"chunks":  "POST /signin HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n",
		} {
			t.Run(name+"/"+part, func(t *testing.T) {
				t.Parallel()
				conn := s.Dial()
				_, _ = io.WriteString(conn, begin)
				stop := make(chan struct{})
				defer close(stop)
				if begin != "" {
					go trickle(conn, stop)
				}
				_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
				if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("the connection was still open after 30 s")
				}
			})
		}
	}
}

func trickle(conn net.Conn, stop <-chan struct{}) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			if _, err := io.WriteString(conn, "x"); err != nil {
				return
			}
		}
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	const most = 5
	api, _ := handlertest.StartAPI(t, func(o *registration.Options) { o.Connections = most })
	monitor := handlertest.StartMonitor(t, func(o *monitor.Options) { o.Connections = most })
	for _, s := range []*handlertest.Site{api, monitor} {
		for range most {
			conn := s.Dial() // the connection gets an answer, and stays open
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 ") {
				t.Fatalf("answered %q, %v", line, err)
			}
		}
		if a := s.Raw("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); a.Status != http.StatusServiceUnavailable {
			t.Errorf("one connection more: %d, want 503", a.Status)
		}
	}
}

// TestEveryAnswerHasSecurityHeaders asks for routes of each kind, known and unknown, signed in
// and not.
func TestEveryAnswerHasSecurityHeaders(t *testing.T) {
	t.Parallel()
	for name, s := range sites(t, time.Minute) {
		paths := []string{"/", "/nowhere", "/docs", "/docs/initializer.js", "/openapi.json", "/api/v1/users/x", "/signin", "/healthz", "/readyz", "/metrics", "/monitoring/tasks/", "/monitoring/tasks/api/queues"}
		session := []string{}
		if name == "monitor" {
			session = []string{"Cookie", s.Session()}
		}
		for _, path := range paths {
			for _, headers := range [][]string{nil, session} {
				a := s.Get(path, headers...)
				for header, want := range map[string]string{
					"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
					"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Server": "",
				} {
					if got := a.Header.Get(header); got != want {
						t.Errorf("%s %s: %s: %q, want %q", name, path, header, got, want)
					}
				}
				policy := a.Header.Get("Content-Security-Policy")
				if !strings.Contains(policy, "default-src '") || !strings.Contains(policy, "frame-ancestors 'none'") {
					t.Errorf("%s %s: Content-Security-Policy %q", name, path, policy)
				}
				if strings.Contains(policy, "*") || strings.Contains(policy, "unsafe-eval") || strings.Contains(policy, "http:") ||
					strings.Contains(policy, "script-src 'self' 'unsafe-inline'") && !strings.HasPrefix(path, "/monitoring/tasks") {
					t.Errorf("%s %s: Content-Security-Policy %q is too wide", name, path, policy)
				}
			}
		}
	}
}

// TestOneRequestIsNotTwo sends bytes that one server reads as one request and another server as two. Nothing after
// the first request may be answered.
func TestOneRequestIsNotTwo(t *testing.T) {
	t.Parallel()
	hidden := "GET /nowhere?hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for name, s := range sites(t, 2*time.Second) {
		for kind, request := range map[string]string{
			"both lengths":      "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
			"two lengths":       fmt.Sprintf("POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: %d\r\n\r\n%s", len(hidden), hidden),
			"length of a sign":  "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: +0\r\n\r\n" + hidden,
			"space before":      fmt.Sprintf("POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length : %d\r\n\r\n%s", len(hidden), hidden),
			"encoding unknown":  "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n" + hidden,
			"chunk size signed": "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n-0\r\n\r\n" + hidden,
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				conn := s.Dial()
				_, _ = io.WriteString(conn, request)
				_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
				text, _ := io.ReadAll(conn)
				if n := strings.Count(string(text), "HTTP/1.1 "); n > 1 {
					t.Errorf("%d answers:\n%s", n, text)
				}
			})
		}
	}
}

// TestSignedOutIsOver keeps a copy of the cookie, as a thief would.
func TestSignedOutIsOver(t *testing.T) {
	t.Parallel()
	s := handlertest.StartPages(t, func(o *monitor.Options) { o.AdminToken, o.Address = handlertest.AdminToken, "0.0.0.0:8081" })
	stolen, other := s.Session(), s.Session()
	if a := s.Get("/monitoring/tasks/api/queues", "Cookie", stolen); a.Status != http.StatusOK {
		t.Fatalf("before: %d", a.Status)
	}
	s.Do(http.MethodPost, "/signout", "", "Cookie", stolen)
	if a := s.Get("/monitoring/tasks/api/queues", "Cookie", stolen, "Accept", "application/json"); a.Status != http.StatusUnauthorized {
		t.Errorf("after signing out the cookie is still good: %d", a.Status)
	}
	if a := s.Get("/monitoring/tasks/api/queues", "Cookie", other); a.Status != http.StatusOK {
		t.Errorf("another session ended too: %d", a.Status)
	}
}

// TestHeadDoesNotKeepAStream asks for the headers of the live stream more often than there are streams.
func TestHeadDoesNotKeepAStream(t *testing.T) {
	t.Parallel()
	s := handlertest.StartPages(t, nil)
	for range 70 {
		s.Do(http.MethodHead, "/live", "", "Host", "localhost")
	}
	servertest.Eventually(t, "a stream is free", func() bool {
		conn := s.Dial()
		_, _ = io.WriteString(conn, "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
		line, _ := bufio.NewReader(conn).ReadString('\n')
		_ = conn.Close()
		return strings.HasPrefix(line, "HTTP/1.1 200 ")
	})
}
