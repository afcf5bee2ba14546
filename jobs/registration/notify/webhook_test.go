package notify_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"outboxd/domain"
	"outboxd/jobs/registration/notify"
)

const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// newWebhook returns a notifier that posts to a receiver, with a log of
// everything above debug.
func newWebhook(t *testing.T, timeout time.Duration, receive http.HandlerFunc) (*notify.Webhook, *bytes.Buffer) {
	t.Helper()
	server := httptest.NewServer(receive)
	t.Cleanup(server.Close)
	return newWebhookAt(t, server.URL+"/hook?token=sesame", timeout)
}

func newWebhookAt(t *testing.T, url string, timeout time.Duration) (*notify.Webhook, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	notifier, err := notify.NewWebhook(notify.WebhookOptions{URL: url, Secret: webhookSecret, Timeout: timeout},
		slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelInfo})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = notifier.Close() })
	return notifier, log
}

func TestWebhookIsSigned(t *testing.T) {
	t.Parallel()
	type delivery struct {
		method, path string
		header       http.Header
		body         []byte
	}
	got := make(chan delivery, 1)
	notifier, log := newWebhook(t, 0, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- delivery{r.Method, r.URL.String(), r.Header.Clone(), body}
		w.WriteHeader(http.StatusNoContent)
	})
	if err := notifier.Send(t.Context(), sampleMessage(t)); err != nil {
		t.Fatal(err)
	}
	d := <-got
	verifier, err := standardwebhooks.NewWebhook(webhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Verify(d.body, d.header); err != nil {
		t.Errorf("the signature does not hold: %v", err)
	}
	if verifier.Verify(append(d.body, ' '), d.header) == nil {
		t.Error("the signature holds for another body")
	}
	for name, want := range map[string]string{
		"webhook-id": sampleEventID, "User-Agent": "outboxd", "Content-Type": "application/json",
	} {
		if got := d.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if d.method != http.MethodPost || d.path != "/hook?token=sesame" {
		t.Errorf("%s %s", d.method, d.path)
	}
	const want = `{"type":"USER_REGISTRATION","timestamp":"2026-03-01T12:00:00Z","data":{` +
		`"notification_id":"0198f2c4-5a02-7cc3-98c4-dc0c0c07398f","user_id":"0198f2c4-5a01-7cc3-98c4-dc0c0c07398f",` +
		`"email":"ada@example.com","message":"Welcome! Your account has been created successfully."}}`
	if string(d.body) != want {
		t.Errorf("body %s, want %s", d.body, want)
	}
	if log.Len() > 0 {
		t.Errorf("log above debug: %s", log)
	}
}

func TestWebhookStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]domain.Code{
		200: "", 201: "", 202: "", 204: "", 299: "",
		300: domain.CodeUnavailable, 301: domain.CodeUnavailable, 302: domain.CodeUnavailable, 304: domain.CodeUnavailable,
		307: domain.CodeUnavailable, 308: domain.CodeUnavailable,
		400: domain.CodeInvalid, 401: domain.CodeInvalid, 403: domain.CodeInvalid, 404: domain.CodeInvalid,
		409: domain.CodeInvalid, 410: domain.CodeInvalid, 422: domain.CodeInvalid, 499: domain.CodeInvalid,
		408: domain.CodeUnavailable, 425: domain.CodeUnavailable, 429: domain.CodeUnavailable,
		500: domain.CodeUnavailable, 502: domain.CodeUnavailable, 503: domain.CodeUnavailable,
		599: domain.CodeUnavailable, 700: domain.CodeUnavailable,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			notifier, _ := newWebhook(t, 0, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				w.WriteHeader(status)
				_, _ = fmt.Fprintf(w, "no\r\n\x1b[31m %s %s %s", webhookSecret, body, strings.Repeat("long ", 100_000))
			})
			err := notifier.Send(t.Context(), sampleMessage(t))
			wantCode(t, err, want, "ada@example.com", webhookSecret, "sesame", "\n", "\x1b")
			if err != nil && (len(err.Error()) > 500 || !strings.Contains(err.Error(), fmt.Sprint(status))) {
				t.Errorf("unfit error %q", err)
			}
		})
	}
}

func TestWebhookRetryAfter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		value  string
		least  time.Duration
		most   time.Duration
	}{
		{503, "17", 17 * time.Second, 17 * time.Second},
		{429, "3600", time.Hour, time.Hour},
		{429, "999999999999999999999", 24 * time.Hour, 24 * time.Hour},
		{503, time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), 55 * time.Minute, time.Hour},
		{503, time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), 0, 0},
		{503, "later", 0, 0},
		{503, "", 0, 0},
		{400, "17", 0, 0},
	} {
		t.Run(fmt.Sprintf("%d %.12s", c.status, c.value), func(t *testing.T) {
			t.Parallel()
			notifier, _ := newWebhook(t, 0, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", c.value)
				w.WriteHeader(c.status)
			})
			var failure *domain.Error
			if err := notifier.Send(t.Context(), sampleMessage(t)); !errors.As(err, &failure) {
				t.Fatalf("got %v", err)
			}
			if failure.RetryAfter < c.least || failure.RetryAfter > c.most {
				t.Errorf("RetryAfter %s, want %s to %s", failure.RetryAfter, c.least, c.most)
			}
		})
	}
}

func TestWebhookDoesNotFollowRedirects(t *testing.T) {
	t.Parallel()
	for _, location := range []string{"/elsewhere", "http://[bad", ""} {
		var requests atomic.Int32
		notifier, _ := newWebhook(t, 0, func(w http.ResponseWriter, _ *http.Request) {
			requests.Add(1)
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusTemporaryRedirect)
		})
		wantCode(t, notifier.Send(t.Context(), sampleMessage(t)), domain.CodeUnavailable)
		if n := requests.Load(); n != 1 {
			t.Errorf("Location %q: %d requests, want 1", location, n)
		}
	}
}

func TestWebhookReadsBoundedHeaders(t *testing.T) {
	t.Parallel()
	notifier, _ := newWebhook(t, 0, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Filler", strings.Repeat("x", 1<<20))
	})
	wantCode(t, notifier.Send(t.Context(), sampleMessage(t)), domain.CodeUnavailable)
}

func TestWebhookWithoutAnswer(t *testing.T) {
	t.Parallel()
	t.Run("stall", func(t *testing.T) {
		t.Parallel()
		notifier, _ := newWebhook(t, 100*time.Millisecond, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // or the server does not see the client leave
			<-r.Context().Done()
		})
		start := time.Now()
		err := notifier.Send(t.Context(), sampleMessage(t))
		wantCode(t, err, domain.CodeUnavailable, "sesame")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 10*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		notifier, _ := newWebhook(t, 0, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			cancel()
			<-r.Context().Done()
		})
		err := notifier.Send(ctx, sampleMessage(t))
		wantCode(t, err, domain.CodeUnavailable, "sesame")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("dropped", func(t *testing.T) {
		t.Parallel()
		notifier, _ := newWebhook(t, 0, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		wantCode(t, notifier.Send(t.Context(), sampleMessage(t)), domain.CodeUnavailable, "sesame")
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		notifier, _ := newWebhookAt(t, "http://user:hunter2@"+closedAddr(t)+"/?token=sesame", 0)
		wantCode(t, notifier.Send(t.Context(), sampleMessage(t)), domain.CodeUnavailable, "sesame", "hunter2")
	})
	t.Run("not HTTP", func(t *testing.T) {
		t.Parallel()
		addr := rawServer(t, func(conn net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, "220 mail.example.com\r\n")
		})
		notifier, _ := newWebhookAt(t, "http://"+addr, 0)
		wantCode(t, notifier.Send(t.Context(), sampleMessage(t)), domain.CodeUnavailable)
	})
}

// The status is the answer: what follows it may never end.
func TestWebhookBodyStalls(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]domain.Code{
		"200 OK":                  "",
		"422 Unprocessable":       domain.CodeInvalid,
		"101 Switching Protocols": domain.CodeUnavailable,
	} {
		t.Run(answer, func(t *testing.T) {
			t.Parallel()
			addr := rawServer(t, func(conn net.Conn) {
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 "+answer+"\r\nContent-Length: 10\r\n\r\nno")
				_, _ = io.Copy(io.Discard, conn) // until the client leaves
			})
			notifier, _ := newWebhookAt(t, "http://"+addr, time.Minute)
			start := time.Now()
			wantCode(t, notifier.Send(t.Context(), sampleMessage(t)), want)
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestWebhookKeepsConnection(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("thanks ", 1000))
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	notifier, _ := newWebhookAt(t, server.URL, 0)
	for range 5 {
		if err := notifier.Send(t.Context(), sampleMessage(t)); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for 5 messages, want 1", n)
	}
}

func TestWebhookOverTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	t.Cleanup(server.Close)
	options := notify.WebhookOptions{URL: server.URL, Secret: webhookSecret, Client: server.Client()}
	trusting, err := notify.NewWebhook(options, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := trusting.Send(t.Context(), sampleMessage(t)); err != nil {
		t.Error(err)
	}
	stranger, _ := newWebhookAt(t, server.URL, 0)
	wantCode(t, stranger.Send(t.Context(), sampleMessage(t)), domain.CodeUnavailable)
}

func TestWebhookRefusesMessageWithoutEvent(t *testing.T) {
	t.Parallel()
	notifier, _ := newWebhook(t, 0, func(http.ResponseWriter, *http.Request) { t.Error("was called") })
	message := sampleMessage(t)
	message.EventID = domain.ID{}
	wantCode(t, notifier.Send(t.Context(), message), domain.CodeInvalid)
}

func TestWebhookBodyIsJSON(t *testing.T) {
	t.Parallel()
	const evil = "\"}\r\n</script>\x00 \xff naïve"
	got := make(chan string, 1)
	notifier, _ := newWebhook(t, 0, func(_ http.ResponseWriter, r *http.Request) {
		var body struct {
			Data struct{ Message string }
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		got <- body.Data.Message
	})
	message := sampleMessage(t)
	message.Text = evil
	if err := notifier.Send(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	if text := <-got; text != strings.ReplaceAll(evil, "\xff", "\uFFFD") {
		t.Errorf("message arrived as %q", text)
	}
}

func TestWebhookOptions(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]notify.WebhookOptions{
		"no URL":          {Secret: webhookSecret},
		"relative":        {URL: "/hook?token=sesame", Secret: webhookSecret},
		"no host":         {URL: "https:///hook?token=sesame", Secret: webhookSecret},
		"other scheme":    {URL: "ftp://example.com/?token=sesame", Secret: webhookSecret},
		"broken":          {URL: "https://user:sesame@example.com:port/%zz", Secret: webhookSecret},
		"no secret":       {URL: "https://example.com"},
		"empty secret":    {URL: "https://example.com", Secret: "whsec_"},
		"secret no base":  {URL: "https://example.com", Secret: "sesame open!"},
		"negative period": {URL: "https://example.com", Secret: webhookSecret, Timeout: -1},
	} {
		_, err := notify.NewWebhook(options, slog.New(slog.DiscardHandler))
		if err == nil || strings.Contains(err.Error(), "sesame") || strings.Contains(err.Error(), webhookSecret) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// closedAddr returns an address where nothing listens.
func closedAddr(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	return listener.Addr().String()
}
