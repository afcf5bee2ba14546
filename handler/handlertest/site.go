// Package handlertest serves the HTTP apps in tests and reads their answers. Production code must not import it.
package handlertest

import (
	"bufio"
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

	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/handler"
	"outboxd/handler/registration"
	"outboxd/migrations"
	"outboxd/repository/postgres"
	store "outboxd/repository/registration"
)

// RegisterBody is the body of a valid registration, and Password is the password in it.
const (
	Password     = "correct horse battery"
	RegisterBody = `{"email":"ada@example.com","password":"correct horse battery"}`
)

// Site is an HTTP app that serves on a real listener, with its log.
type Site struct {
	t   *testing.T
	URL string
	Log *LogBook
}

// Answer is a response that has been read.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Listen serves an app on a port of its own until the test ends.
func Listen(t *testing.T, app *fiber.App, log *LogBook) *Site {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// End fasthttp's idle workers soon and do not start its clock, because the
	// tests' check for leaked goroutines would report both.
	app.Server().MaxIdleWorkerDuration = 100 * time.Millisecond
	app.Server().NoDefaultDate = true
	go func() { served <- app.Listener(ln) }()
	s := &Site{t: t, URL: "http://" + ln.Addr().String(), Log: log}
	servertest.Eventually(t, "the listener accepts", func() bool {
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

// StartAPI serves the example API on a new database.
func StartAPI(t *testing.T, change func(*registration.Options)) (*Site, *postgres.Database) {
	t.Helper()
	db := OpenDatabase(t, schematest.Database(t))
	return StartAPIOn(t, db, change), db
}

// StartAPIOn serves the example API on an existing database.
func StartAPIOn(t *testing.T, db *postgres.Database, change func(*registration.Options)) *Site {
	t.Helper()
	log := &LogBook{}
	o := registration.Options{Users: store.NewUsers(db, schematest.Example(t, db)), Logger: log.Logger(), HashConcurrency: 2, Version: "1.2.3"}
	// Allow more time, because many tests hash passwords at once and the race
	// detector makes that slow.
	o.Timeouts.Request, o.Timeouts.Write = 2*time.Minute, 2*time.Minute
	if change != nil {
		change(&o)
	}
	return Listen(t, registration.New(o), log)
}

// OpenDatabase opens the database at an address and applies the core's migrations.
func OpenDatabase(t *testing.T, address string) *postgres.Database {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Options{
		URL: address, MaxConns: 4, ConnectTimeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if _, err := migrations.Core().Up(t.Context(), db.SQL(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return db
}

// Do sends a request. headers alternates names and values. A header named Host sets
// the request's host.
func (s *Site) Do(method, path, body string, headers ...string) Answer {
	s.t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, content)
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
	response, err := transport.RoundTrip(request) // RoundTrip follows no redirect
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = response.Body.Close() }()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return Answer{response.StatusCode, response.Header, string(read)}
}

// Get sends a GET.
func (s *Site) Get(path string, headers ...string) Answer {
	s.t.Helper()
	return s.Do(http.MethodGet, path, "", headers...)
}

// Register posts a body as JSON.
func (s *Site) Register(body string, headers ...string) Answer {
	s.t.Helper()
	return s.Do(http.MethodPost, "/api/v1/users", body, append([]string{"Content-Type", "application/json"}, headers...)...)
}

// Decode reads an Answer's body as JSON.
func Decode[T any](t *testing.T, a Answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.Body), &v); err != nil {
		t.Fatalf("status %d, not JSON (%v): %s", a.Status, err, a.Body)
	}
	return v
}

// Problem is a problem document of RFC 9457, with the fields of the API's
// description.
type Problem struct {
	Type, Title, Detail string
	Status              int
	RequestID           string `json:"request_id"`
	Errors              []struct{ Field, Location, Message string }
}

// WantProblem fails the test unless the answer is a valid problem document with this status and the security
// headers.
func WantProblem(t *testing.T, a Answer, status int) Problem {
	t.Helper()
	if a.Status != status {
		t.Errorf("status %d, want %d: %s", a.Status, status, a.Body)
	}
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q, want application/problem+json", got)
	}
	p := Decode[Problem](t, a)
	if p.Type != "about:blank" || p.Title != http.StatusText(status) || p.Status != status || p.Detail == "" {
		t.Errorf("incomplete problem: %s", a.Body)
	}
	if p.RequestID == "" || p.RequestID != a.Header.Get(handler.HeaderRequestID) {
		t.Errorf("request_id %q, header %q", p.RequestID, a.Header.Get(handler.HeaderRequestID))
	}
	for _, name := range []string{"X-Content-Type-Options", "X-Frame-Options", "Content-Security-Policy", "Referrer-Policy"} {
		if a.Header.Get(name) == "" {
			t.Errorf("no %s", name)
		}
	}
	return p
}

// LogBook keeps log records as JSON.
type LogBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Logger returns a logger that writes records of every level to the book.
func (l *LogBook) Logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Write implements io.Writer.
func (l *LogBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *LogBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Lines returns the records with the given message, or all records if message is
// "".
func (l *LogBook) Lines(message string) []map[string]any {
	var found []map[string]any
	for line := range strings.Lines(l.String()) {
		var record map[string]any
		if json.Unmarshal([]byte(line), &record) == nil && (message == "" || record["msg"] == message) {
			found = append(found, record)
		}
	}
	return found
}

// Dial opens a connection to the app.
func (s *Site) Dial() net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Raw sends the bytes of a request unchanged, on a connection of its own, and reads one
// response.
func (s *Site) Raw(request string) Answer {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
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
	return Answer{response.StatusCode, response.Header, string(body)}
}
