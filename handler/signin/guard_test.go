package signin_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"outboxd/handler/handlertest"
	"outboxd/handler/monitor"
	"outboxd/handler/signin"
)

const (
	queuesPath = "/monitoring/tasks/api/queues"
	pausePath  = "/monitoring/tasks/api/queues/default:pause"
)

// TestAccess says who may read and write the pages, from where, with and without an admin
// token.
func TestAccess(t *testing.T) {
	t.Parallel()
	const (
		local, public = "127.0.0.1:8081", "0.0.0.0:8081"
		read, write   = "read", "write"
	)
	type who struct {
		name    string
		headers []string
	}
	var (
		nobody      = who{"nobody", nil}
		bearer      = who{"bearer", []string{"Authorization", "Bearer " + handlertest.AdminToken}}
		wrongBearer = who{"wrong bearer", []string{"Authorization", "Bearer guess"}}
		session     = who{"session", []string{"Cookie", "SESSION"}}
		forged      = who{"forged session", []string{"Cookie", "outboxd_session=9999999999.AAAA"}}
		rebound     = who{"rebound name", []string{"Host", "evil.example"}}
		proxied     = who{"through a proxy", []string{"X-Forwarded-For", "192.0.2.1"}}
		sameOrigin  = who{"session, same origin", []string{"Cookie", "SESSION", "Sec-Fetch-Site", "same-origin"}}
		crossSite   = who{"session, cross-site", []string{"Cookie", "SESSION", "Sec-Fetch-Site", "cross-site"}}
		sameSite    = who{"session, other port", []string{"Cookie", "SESSION", "Sec-Fetch-Site", "same-site"}}
		oldSame     = who{"session, own Origin", []string{"Cookie", "SESSION", "Origin", "ORIGIN"}}
		oldCross    = who{"session, other Origin", []string{"Cookie", "SESSION", "Origin", "https://evil.example"}}
		crossBearer = who{"bearer, cross-site", []string{"Authorization", "Bearer " + handlertest.AdminToken, "Sec-Fetch-Site", "cross-site"}}
		reboundIn   = who{"session, other name", []string{"Cookie", "SESSION", "Host", "outboxd.example"}}
	)
	for _, c := range []struct {
		token, address string
		who            who
		read, write    int
	}{
		{"", local, nobody, 200, 403},
		{"", local, rebound, 421, 403},
		{"", local, proxied, 421, 403},
		{"", local, bearer, 200, 403},
		{"", local, forged, 200, 403},
		{"", public, nobody, 403, 403},
		{"", public, bearer, 403, 403},
		{handlertest.AdminToken, local, nobody, 200, 401},
		{handlertest.AdminToken, local, rebound, 401, 401},
		{handlertest.AdminToken, local, proxied, 401, 401},
		{handlertest.AdminToken, local, forged, 200, 401},
		{handlertest.AdminToken, local, wrongBearer, 401, 401},
		{handlertest.AdminToken, local, bearer, 200, 204},
		{handlertest.AdminToken, local, crossBearer, 200, 204},
		{handlertest.AdminToken, local, session, 200, 204},
		{handlertest.AdminToken, local, sameOrigin, 200, 204},
		{handlertest.AdminToken, local, crossSite, 200, 403},
		{handlertest.AdminToken, local, sameSite, 200, 403},
		{handlertest.AdminToken, local, oldSame, 200, 204},
		{handlertest.AdminToken, local, oldCross, 200, 403},
		{handlertest.AdminToken, public, nobody, 401, 401},
		{handlertest.AdminToken, public, forged, 401, 401},
		{handlertest.AdminToken, public, wrongBearer, 401, 401},
		{handlertest.AdminToken, public, bearer, 200, 204},
		{handlertest.AdminToken, public, session, 200, 204},
		{handlertest.AdminToken, public, reboundIn, 200, 204},
		{handlertest.AdminToken, public, crossSite, 200, 403},
	} {
		t.Run(fmt.Sprintf("token %v, %s, %s", c.token != "", c.address, c.who.name), func(t *testing.T) {
			t.Parallel()
			s := handlertest.StartPages(t, func(o *monitor.Options) { o.AdminToken, o.Address = c.token, c.address })
			headers := append([]string{}, c.who.headers...)
			for i, h := range headers {
				switch h {
				case "SESSION":
					headers[i] = s.Session()
				case "ORIGIN":
					headers[i] = s.URL
				}
			}
			for what, want := range map[string]int{read: c.read, write: c.write} {
				method, path := http.MethodGet, queuesPath
				if what == write {
					method, path = http.MethodPost, pausePath
				}
				a := s.Do(method, path, "", headers...)
				if want >= 400 {
					handlertest.WantProblem(t, a, want)
				} else if a.Status != want {
					t.Errorf("%s: %d %s, want %d", what, a.Status, a.Body, want)
				}
				if want == 401 && a.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s: no WWW-Authenticate", what)
				}
			}
		})
	}
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	s := handlertest.StartPages(t, func(o *monitor.Options) { o.AdminToken, o.Address = handlertest.AdminToken, "0.0.0.0:8081" })
	t.Run("leads back", func(t *testing.T) {
		a := s.Get("/monitoring/tasks/queues/default?status=retry", "Accept", "text/html,*/*;q=0.8")
		to := a.Header.Get("Location")
		if a.Status != http.StatusSeeOther || !strings.HasPrefix(to, "../../../signin?next=") {
			t.Fatalf("%d to %q", a.Status, to)
		}
		form := s.Get(strings.TrimPrefix(to, "../../.."))
		next := regexp.MustCompile(`name="next" value="([^"]*)"`).FindStringSubmatch(form.Body)
		if form.Status != http.StatusOK || next == nil {
			t.Fatalf("%d %s", form.Status, form.Body)
		}
		a = s.SignIn(handlertest.AdminToken, next[1])
		if got := a.Header.Get("Location"); got != "./monitoring/tasks/queues/default?status=retry" {
			t.Errorf("led to %q", got)
		}
		cookie, err := http.ParseSetCookie(a.Header.Get("Set-Cookie"))
		if err != nil || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "" || cookie.Secure ||
			time.Until(cookie.Expires) > 12*time.Hour || strings.Contains(cookie.Value, handlertest.AdminToken) {
			t.Errorf("cookie %+v, %v", cookie, err)
		}
	})
	t.Run("over TLS", func(t *testing.T) {
		if a := s.SignIn(handlertest.AdminToken, "/", "X-Forwarded-Proto", "https"); !strings.Contains(strings.ToLower(a.Header.Get("Set-Cookie")), "secure") {
			t.Errorf("cookie %q", a.Header.Get("Set-Cookie"))
		}
	})
	t.Run("never leads elsewhere", func(t *testing.T) {
		for _, next := range []string{"//evil.example", "https://evil.example", `/\evil.example`} {
			if got := s.SignIn(handlertest.AdminToken, next).Header.Get("Location"); got != "./" {
				t.Errorf("%q led to %q", next, got)
			}
		}
	})
	t.Run("from another site", func(t *testing.T) {
		handlertest.WantProblem(t, s.SignIn(handlertest.AdminToken, "/", "Sec-Fetch-Site", "cross-site"), http.StatusForbidden)
	})
	t.Run("sign out", func(t *testing.T) {
		handlertest.WantProblem(t, s.Do(http.MethodPost, "/signout", "", "Cookie", s.Session(), "Sec-Fetch-Site", "cross-site"), http.StatusForbidden)
		a := s.Do(http.MethodPost, "/signout", "", "Cookie", s.Session())
		cookie, err := http.ParseSetCookie(a.Header.Get("Set-Cookie"))
		if a.Status != http.StatusSeeOther || err != nil || cookie.Value != "" || cookie.Expires.After(time.Now()) && cookie.MaxAge >= 0 {
			t.Errorf("%d, cookie %+v, %v", a.Status, cookie, err)
		}
	})
	t.Run("guessing", func(t *testing.T) { // last, because this address then has to wait
		for i := range signin.MaxFailures {
			a := s.SignIn("guess", "/")
			if a.Status != http.StatusUnauthorized || a.Header.Get("Set-Cookie") != "" || !strings.Contains(a.Body, "wrong") {
				t.Fatalf("guess %d: %d %s", i, a.Status, a.Body)
			}
		}
		if a := s.SignIn(handlertest.AdminToken, "/"); a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%d %v, want 429 even for the right token", a.Status, a.Header)
		}
		handlertest.WantProblem(t, s.Get(queuesPath, "Authorization", "Bearer "+handlertest.AdminToken), http.StatusTooManyRequests)
	})
	if strings.Contains(s.Log.String(), handlertest.AdminToken) {
		t.Error("the token was logged")
	}
}

func TestWithoutTokenThereIsNoSignIn(t *testing.T) {
	t.Parallel()
	s := handlertest.StartPages(t, nil)
	handlertest.WantProblem(t, s.Get("/signin"), http.StatusNotFound)
	handlertest.WantProblem(t, s.SignIn("", "/"), http.StatusNotFound)
	if home := s.Get("/"); strings.Contains(home.Body, "signin") {
		t.Error("the page offers to sign in")
	}
}
