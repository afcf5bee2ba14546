package handlertest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"

	"outboxd/app/servertest"
	"outboxd/config/address"
	"outboxd/handler/monitor"
	"outboxd/handler/signin"
)

// AdminToken is an admin token that is long enough to be valid.
const AdminToken = "an admin token of some length"

// StartMonitor serves a monitor until the test ends. The function change, if not nil, may
// change its options.
func StartMonitor(t *testing.T, change func(*monitor.Options)) *Site {
	t.Helper()
	log := &LogBook{}
	o := monitor.Options{
		Logger: log.Logger(), Registry: prometheus.NewRegistry(),
		Ways: signin.Ways{Address: "127.0.0.1:8081", IsLoopback: address.IsLoopback},
	}
	if change != nil {
		change(&o)
	}
	return Listen(t, monitor.New(o), log)
}

// StartPages serves a monitor with its pages until the test ends. The monitor's Redis has
// one task.
func StartPages(t *testing.T, change func(*monitor.Options)) *Site {
	t.Helper()
	redis, err := asynq.ParseRedisURI(servertest.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	client := asynq.NewClient(redis)
	t.Cleanup(func() { _ = client.Close() })
	if _, err := client.EnqueueContext(t.Context(), asynq.NewTask("email:send_notification", []byte(`{"user_id":"u"}`)), asynq.TaskID("task-1")); err != nil {
		t.Fatal(err)
	}
	pages := monitor.NewTaskPages(redis)
	t.Cleanup(func() {
		if err := pages.Close(); err != nil {
			t.Error(err)
		}
	})
	return StartMonitor(t, func(o *monitor.Options) {
		o.Pages = pages
		if change != nil {
			change(o)
		}
	})
}

// SignIn sends the sign-in form.
func (s *Site) SignIn(token, next string, headers ...string) Answer {
	s.t.Helper()
	form := url.Values{"token": {token}, "next": {next}}.Encode()
	return s.Do(http.MethodPost, "/signin", form, append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...)
}

// Session signs in with the admin token and returns the Cookie header.
func (s *Site) Session() string {
	s.t.Helper()
	return s.SessionOf(AdminToken)
}

// SessionOf signs in with a token and returns the Cookie header.
func (s *Site) SessionOf(token string) string {
	s.t.Helper()
	a := s.SignIn(token, "/")
	value, _, _ := strings.Cut(a.Header.Get("Set-Cookie"), ";")
	if a.Status != http.StatusSeeOther || value == "" {
		s.t.Fatalf("sign in: %d %v", a.Status, a.Header)
	}
	return value
}
