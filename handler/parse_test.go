package handler_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"outboxd/handler"
)

func TestParseIdempotencyKey(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`abc`: "abc", `"abc"`: "abc", `"a b"`: "a b", `"a\"b\\c"`: `a"b\c`, `a\b`: `a\b`,
		strings.Repeat("k", 255):             strings.Repeat("k", 255),
		`"` + strings.Repeat("k", 255) + `"`: strings.Repeat("k", 255),
	} {
		if got, err := handler.ParseIdempotencyKey([]string{in}); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", " ", `"`, `""`, `"abc`, `abc"`, `"abc";p=1`, `"a\n"`, `"a\`, "a b", "a,b", "a\x00b", "a\x7fb", "é", `"é"`,
		strings.Repeat("k", 256), `"` + strings.Repeat("k", 256) + `"`,
	} {
		if got, err := handler.ParseIdempotencyKey([]string{in}); err == nil {
			t.Errorf("%q was taken as %q", in, got)
		}
	}
	if got, err := handler.ParseIdempotencyKey(nil); got != "" || err != nil {
		t.Errorf("no header: %q, %v", got, err)
	}
}

func FuzzParseIdempotencyKey(f *testing.F) {
	for _, seed := range []string{"abc", `"abc"`, `"a\"b"`, `"`, `"a`, "a\x00", strings.Repeat("k", 300)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		key, err := handler.ParseIdempotencyKey([]string{in})
		if err != nil {
			if key != "" {
				t.Errorf("%q: both %q and %v", in, key, err)
			}
			return
		}
		if key == "" || len(key) > 255 || strings.IndexFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
			t.Errorf("%q was taken as %q", in, key)
		}
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		if again, err := handler.ParseIdempotencyKey([]string{quoted}); err != nil || again != key {
			t.Errorf("%q, written as %q, reads as %q, %v", key, quoted, again, err)
		}
	})
}

func FuzzAcceptRequestID(f *testing.F) {
	f.Add("abc-1.2_3")
	f.Add("a\r\nSet-Cookie: b")
	f.Add(strings.Repeat("x", 129))
	f.Fuzz(func(t *testing.T, requestID string) {
		id := handler.AcceptRequestID(requestID)
		if id == "" || len(id) > 128 || strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
			t.Errorf("%q became the request ID %q", requestID, id)
		}
	})
}

func TestLocalPath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/": "/", "/monitoring/tasks/queues/default?status=retry": "/monitoring/tasks/queues/default?status=retry",
		"": "/", "tasks": "/", "//evil.example": "/", `/\evil.example`: "/", "https://evil.example/": "/",
		"javascript:alert(1)": "/", "/\t/evil.example": "/", "/%": "/",
	} {
		if got := handler.LocalPath(in); got != want {
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
		// As the sign-in sends it: relative to its own page.
		target, err := page.Parse("." + handler.LocalPath(in))
		if err != nil || target.Host != page.Host || target.Scheme != page.Scheme || target.User != nil {
			t.Errorf("%q leads to %v, %v", in, target, err)
		}
	})
}

func FuzzSession(f *testing.F) {
	sessions, now := handler.NewSessions(), time.Now()
	value := sessions.Issue(now.Add(time.Hour))
	for _, seed := range []string{value, value + ".", "." + value, "9999999999.x.y", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, forged string) {
		if forged != value && sessions.Valid(forged, now) {
			t.Errorf("%q is valid, and %q was issued", forged, value)
		}
	})
}

func TestSessions(t *testing.T) {
	t.Parallel()
	s, now := handler.NewSessions(), time.Now()
	value := s.Issue(now.Add(time.Hour))
	if !s.Valid(value, now) {
		t.Error("a new session is not valid")
	}
	if s.Valid(value, now.Add(time.Hour+time.Second)) {
		t.Error("a session outlives its end")
	}
	expiry, signature, _ := strings.Cut(value, ".")
	for _, forged := range []string{"", ".", value[1:], expiry, expiry + ".", "9" + expiry + "." + signature, value + "A"} {
		if s.Valid(forged, now) {
			t.Errorf("%q is valid", forged)
		}
	}
	if handler.NewSessions().Valid(value, now) {
		t.Error("a session of another process is valid")
	}
}

func TestAttemptsAreForgottenAndBounded(t *testing.T) {
	t.Parallel()
	a, now := handler.NewAttempts(), time.Now()
	for range handler.MaxFailures {
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

func TestIsLoopback(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"127.0.0.1:8081": true, "127.9.9.9": true, "localhost:8081": true, "LOCALHOST": true, "[::1]:8081": true, "::1": true, "[::1]": true,
		"outboxd.localhost:80": true, "[::ffff:127.0.0.1]:80": true,
		":8081": false, "0.0.0.0:8081": false, "[::]:8081": false, "10.0.0.1:8081": false, "": false,
		"localhost.example.com:8081": false, "127.0.0.1.example.com": false, "evil.example": false,
	} {
		if got := handler.IsLoopback(address); got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
}
