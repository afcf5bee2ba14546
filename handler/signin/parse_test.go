package signin_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"outboxd/domain/access"
	"outboxd/handler/signin"
)

func TestLocalPath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/": "/", "/monitoring/tasks/queues/default?status=retry": "/monitoring/tasks/queues/default?status=retry",
		"": "/", "tasks": "/", "//evil.example": "/", `/\evil.example`: "/", "https://evil.example/": "/",
		"javascript:alert(1)": "/", "/\t/evil.example": "/", "/%": "/",
	} {
		if got := signin.LocalPath(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzLocalPath(f *testing.F) {
	for _, seed := range []string{"/", "/events?type=a", "//evil.example", "/\\evil.example", "https://evil.example", "/a/../..//evil.example", "/\t/evil.example", "/%2f/evil.example"} {
		f.Add(seed)
	}
	page, err := url.Parse("https://monitor.example/sub/signin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in string) {
		// The sign-in redirects to the path relative to its own page, as here.
		target, err := page.Parse("." + signin.LocalPath(in))
		if err != nil || target.Host != page.Host || target.Scheme != page.Scheme || target.User != nil {
			t.Errorf("%q leads to %v, %v", in, target, err)
		}
	})
}

var ada = access.Identity{Name: "ada", Role: access.Operator}

func FuzzSession(f *testing.F) {
	sessions, now := signin.NewSessions(), time.Now()
	value := sessions.Issue(ada, now.Add(time.Hour))
	for _, seed := range []string{value, value + ".", "." + value, "9999999999.x.y", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, forged string) {
		if who, valid := sessions.Holder(forged, now); forged != value && valid {
			t.Errorf("%q is valid for %v, and %q was issued", forged, who, value)
		}
	})
}

func TestSessions(t *testing.T) {
	t.Parallel()
	s, now := signin.NewSessions(), time.Now()
	value := s.Issue(ada, now.Add(time.Hour))
	if who, valid := s.Holder(value, now); !valid || who != ada {
		t.Errorf("a new session is of %v, %v", who, valid)
	}
	valid := func(s *signin.Sessions, value string, now time.Time) bool {
		_, valid := s.Holder(value, now)
		return valid
	}
	if valid(s, value, now.Add(time.Hour+time.Second)) {
		t.Error("a session outlives its end")
	}
	content, signature, _ := strings.Cut(value, ".")
	admin, _, _ := strings.Cut(signin.NewSessions().Issue(access.Identity{Name: "ada", Role: access.Admin}, now.Add(time.Hour)), ".")
	for _, forged := range []string{"", ".", value[1:], content, content + ".", "9" + content + "." + signature, value + "A", admin + "." + signature} {
		if valid(s, forged, now) {
			t.Errorf("%q is valid", forged)
		}
	}
	if valid(signin.NewSessions(), value, now) {
		t.Error("a session of another process is valid")
	}
}

func TestAttemptsAreForgottenAndBounded(t *testing.T) {
	t.Parallel()
	a, now := signin.NewAttempts(), time.Now()
	for range signin.MaxFailures {
		if a.Wait("one", now) != 0 {
			t.Fatal("blocked too early")
		}
		a.Failed("one", now)
	}
	if got := a.Wait("one", now); got != time.Minute {
		t.Errorf("must wait %v, want a minute", got)
	}
	if a.Wait("two", now) != 0 {
		t.Error("another client is blocked")
	}
	if a.Wait("one", now.Add(time.Minute)) != 0 {
		t.Error("still blocked after a minute")
	}
	for i := range 25_000 {
		a.Failed(strings.Repeat("x", 1+i%7)+time.Duration(i).String(), now)
	}
	if got := a.Remembered(); got > 10_000 {
		t.Errorf("remembers %d clients", got)
	}
}
