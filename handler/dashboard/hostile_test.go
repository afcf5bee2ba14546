package dashboard_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"outboxd/app/servertest"
	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/handler/dashboard"
	"outboxd/handler/handlertest"
	"outboxd/handler/monitor"
)

// letters is a list of dead letters without an end, whose function next may answer in place of it.
type letters struct {
	domain.DeadLetters

	next func(ctx context.Context, after domain.Cursor) error
}

func (l letters) List(ctx context.Context, _ domain.DeadFilter, after domain.Cursor, limit int) ([]domain.DeadLetter, error) {
	if err := l.next(ctx, after); err != nil {
		return nil, err
	}
	list := make([]domain.DeadLetter, limit)
	for i := range list {
		list[i] = domain.DeadLetter{DiedAt: time.Unix(1, 0), Error: "no"}
		list[i].ID, list[i].Type, list[i].Payload = domain.ID{15: 1}, "a:b", []byte(`{"a":1}`)
	}
	return list, nil
}

// started serves pages about dead letters. The context in which the second page is read goes to the function second.
func started(t *testing.T, second func(context.Context) error) *handlertest.Site {
	t.Helper()
	return served(t, dashboard.Sources{Dead: letters{next: func(ctx context.Context, after domain.Cursor) error {
		if after == (domain.Cursor{}) {
			return nil
		}
		return second(ctx)
	}}})
}

// served serves pages without servers.
func served(t *testing.T, sources dashboard.Sources) *handlertest.Site {
	t.Helper()
	return servedWith(t, sources, func(*monitor.Options) {})
}

// servedWith serves pages without servers, with other options.
func servedWith(t *testing.T, sources dashboard.Sources, change func(*monitor.Options)) *handlertest.Site {
	t.Helper()
	pages := monitor.NewTaskPages(asynq.RedisClientOpt{Network: "unix", Addr: "/nowhere/redis.sock"})
	t.Cleanup(func() { _ = pages.Close() })
	return handlertest.StartMonitor(t, func(o *monitor.Options) {
		o.Pages, o.Sources = pages, sources
		change(o)
	})
}

// A client must not take a part of a file for the whole file.
func TestAFileThatBreaksOffIsNoWholeFile(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]func(context.Context) error{
		"outage": func(context.Context) error { return domain.Errorf(domain.CodeUnavailable, "gone") },
		"panic":  func(context.Context) error { panic("a bug") },
	} {
		s := started(t, second)
		for _, form := range []string{"csv", "json"} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/dead/export?as="+form, nil)
			if err != nil {
				t.Fatal(err)
			}
			transport := &http.Transport{DisableKeepAlives: true}
			answer, err := transport.RoundTrip(request)
			if err != nil {
				t.Fatalf("%s as %s: %v", name, form, err)
			}
			read, err := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if !errors.Is(err, io.ErrUnexpectedEOF) || len(read) < 10_000 {
				t.Errorf("%s as %s: %d bytes, %v", name, form, len(read), err)
			}
		}
		servertest.Eventually(t, "the log has it", func() bool { return len(s.Log.Lines("a file could not be sent in full")) == 2 })
	}
}

// A client that is gone must not keep the database busy with a search that finds nothing.
func TestAClientThatIsGoneEndsItsFile(t *testing.T) {
	t.Parallel()
	reads, ended := make(chan struct{}, 1), make(chan struct{})
	s := started(t, func(ctx context.Context) error {
		reads <- struct{}{}
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	})
	conn := s.Dial()
	_, _ = io.WriteString(conn, "GET /dead/export?as=csv HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-reads
	select {
	case <-ended:
		t.Fatal("the file ended although its client waits")
	case <-time.After(3 * time.Second / 2): // longer than the server waits before it looks
	}
	_ = conn.Close()
	select {
	case <-ended:
	case <-time.After(servertest.Patience):
		t.Error("the search goes on")
	}
}

// A HEAD must not begin the file: the end of the file would then cut a connection that is in use.
func TestAskingForTheHeadersOfAFile(t *testing.T) {
	t.Parallel()
	s := started(t, func(ctx context.Context) error { t.Error("the file is read"); return ctx.Err() })
	conn := s.Dial()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	from := bufio.NewReader(conn)
	for _, method := range []string{http.MethodHead, http.MethodHead, http.MethodGet} {
		path := "/dead/export?as=csv"
		if method == http.MethodGet {
			path = "/healthz"
		}
		_, _ = io.WriteString(conn, method+" "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		answer, err := http.ReadResponse(from, &http.Request{Method: method})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		if _ = answer.Body.Close(); answer.StatusCode != http.StatusOK {
			t.Errorf("%s %s: %d", method, path, answer.StatusCode)
		}
		if method == http.MethodHead && !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/csv") {
			t.Errorf("%v", answer.Header)
		}
	}
}

// A search that has found nothing yet is no reason to refuse the file.
func TestAFileWhoseFirstRowTakesLong(t *testing.T) {
	t.Parallel()
	reads := 0
	s := served(t, dashboard.Sources{Dead: letters{next: func(ctx context.Context, _ domain.Cursor) error {
		if reads++; reads > 1 {
			return domain.Errorf(domain.CodeUnavailable, "the file has begun")
		}
		<-ctx.Done()
		return domain.Wrap(domain.CodeUnavailable, ctx.Err(), "too slow")
	}}})
	conn := s.Dial()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.WriteString(conn, "GET /dead/export?as=csv HTTP/1.1\r\nHost: localhost\r\n\r\n")
	_, _ = io.Copy(io.Discard, conn)
	servertest.Eventually(t, "the log has it", func() bool {
		lines := s.Log.Lines("a file could not be sent in full")
		return len(lines) == 1 && strings.Contains(fmt.Sprint(lines[0]["error"]), "the file has begun")
	})
}

// What is known to be wrong before the file begins gets an answer that says so.
func TestAFileThatCannotBegin(t *testing.T) {
	t.Parallel()
	s := served(t, dashboard.Sources{Dead: letters{next: func(context.Context, domain.Cursor) error {
		return domain.Errorf(domain.CodeUnavailable, "the database is away")
	}}})
	handlertest.WantProblem(t, s.Get("/dead/export?as=csv"), http.StatusServiceUnavailable)
}

// subscriptions has one subscription.
type subscriptions struct {
	setup.SubscriptionOverviews

	only setup.Subscription
}

func (s subscriptions) List(context.Context) ([]setup.Subscription, error) {
	return []setup.Subscription{s.only}, nil
}

func (s subscriptions) Find(context.Context, string) (*setup.Subscription, error) {
	return &s.only, nil
}

func (subscriptions) Standings(context.Context) (map[string]setup.SubscriptionStanding, bool, error) {
	return nil, true, nil
}

func (subscriptions) Replay(context.Context, string) (*setup.SubscriptionReplay, error) {
	return nil, nil
}

func TestSecretsInURLsAreHidden(t *testing.T) {
	t.Parallel()
	s := served(t, dashboard.Sources{
		Mask:          []string{"token"},
		Subscriptions: subscriptions{only: setup.Subscription{Name: "crm", URL: "https://crm.example/hook?access_token=hunter2&region=eu"}},
	})
	for _, path := range []string{"/subscriptions", "/subscriptions/crm"} {
		if a := s.Get(path); a.Status != http.StatusOK || strings.Contains(a.Body, "hunter2") || !strings.Contains(a.Body, "https://crm.example/hook?access_token=•••&amp;region=eu") {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
}
