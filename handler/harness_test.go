package handler_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/handler"
	"outboxd/migrations"
	"outboxd/repository"
	"outboxd/repository/repositorytest"
)

const (
	password     = "correct horse battery"
	registerBody = `{"email":"ada@example.com","password":"correct horse battery"}`
)

// site is an app behind a real listener, and what it has logged.
type site struct {
	t   *testing.T
	url string
	log *logBook
}

// answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	body   string
}

// listen serves an app on a port of its own until the test ends.
func listen(t *testing.T, app *fiber.App, log *logBook) *site {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// The check for leaks would see a stopped pool of workers, which lasts as long
	// as this, and fasthttp's clock, which never stops.
	app.Server().MaxIdleWorkerDuration = 100 * time.Millisecond
	app.Server().NoDefaultDate = true
	go func() { served <- app.Listener(ln) }()
	s := &site{t: t, url: "http://" + ln.Addr().String(), log: log}
	waitFor(t, "the listener", func() bool {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	t.Cleanup(func() {
		if err := app.ShutdownWithTimeout(10 * time.Second); err != nil {
			t.Errorf("shut down: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

// startAPI serves the API on a database of its own.
func startAPI(t *testing.T, change func(*handler.APIOptions)) (*site, *repository.Database) {
	t.Helper()
	db := openDatabase(t, repositorytest.Database(t))
	return startAPIOn(t, db, change), db
}

func startAPIOn(t *testing.T, db *repository.Database, change func(*handler.APIOptions)) *site {
	t.Helper()
	log := &logBook{}
	o := handler.APIOptions{Users: repository.NewUsers(db), Logger: log.logger(), HashConcurrency: 2, Version: "1.2.3"}
	// Many tests hash at once, and the race detector makes that slow.
	o.Timeouts.Request, o.Timeouts.Write = 2*time.Minute, 2*time.Minute
	if change != nil {
		change(&o)
	}
	return listen(t, handler.API(o), log)
}

// openDatabase migrates and opens the database at an address.
func openDatabase(t *testing.T, address string) *repository.Database {
	t.Helper()
	db, err := repository.Open(t.Context(), repository.Options{
		URL: address, MaxConns: 4, ConnectTimeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if _, err := migrations.Up(t.Context(), db.SQL(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return db
}

// do sends a request. Headers are names and values in turn; one is Host.
func (s *site) do(method, path, body string, headers ...string) answer {
	s.t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, content)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		} else {
			request.Header.Add(headers[i], headers[i+1])
		}
	}
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	response, err := transport.RoundTrip(request) // follows no redirect
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = response.Body.Close() }()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{response.StatusCode, response.Header, string(read)}
}

func (s *site) get(path string, headers ...string) answer {
	s.t.Helper()
	return s.do(http.MethodGet, path, "", headers...)
}

// register posts a body as JSON.
func (s *site) register(body string, headers ...string) answer {
	s.t.Helper()
	return s.do(http.MethodPost, "/api/v1/users", body, append([]string{"Content-Type", "application/json"}, headers...)...)
}

// decode reads an answer's body.
func decode[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("status %d, not JSON (%v): %s", a.status, err, a.body)
	}
	return v
}

// problem is what RFC 9457 and the API's description promise.
type problem struct {
	Type, Title, Detail string
	Status              int
	RequestID           string `json:"request_id"`
	Errors              []struct{ Field, Location, Message string }
}

// wantProblem checks everything that all problems have in common.
func wantProblem(t *testing.T, a answer, status int) problem {
	t.Helper()
	if a.status != status {
		t.Errorf("status %d, want %d: %s", a.status, status, a.body)
	}
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q, want application/problem+json", got)
	}
	p := decode[problem](t, a)
	if p.Type != "about:blank" || p.Title != http.StatusText(status) || p.Status != status || p.Detail == "" {
		t.Errorf("incomplete problem: %s", a.body)
	}
	if p.RequestID == "" || p.RequestID != a.header.Get(handler.HeaderRequestID) {
		t.Errorf("request_id %q, header %q", p.RequestID, a.header.Get(handler.HeaderRequestID))
	}
	for _, name := range []string{"X-Content-Type-Options", "X-Frame-Options", "Content-Security-Policy", "Referrer-Policy"} {
		if a.header.Get(name) == "" {
			t.Errorf("no %s", name)
		}
	}
	return p
}

// logBook keeps log records, as JSON would show them.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBook) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Write implements io.Writer.
func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// lines returns the records with a message, "" for all.
func (l *logBook) lines(message string) []map[string]any {
	var found []map[string]any
	for line := range strings.Lines(l.String()) {
		var record map[string]any
		if json.Unmarshal([]byte(line), &record) == nil && (message == "" || record["msg"] == message) {
			found = append(found, record)
		}
	}
	return found
}

// waitFor polls a condition that something else makes true.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-limit:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}
