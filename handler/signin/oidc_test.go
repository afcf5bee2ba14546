package signin_test

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oauth2-proxy/mockoidc"

	"outboxd/domain/access"
	"outboxd/handler/handlertest"
	"outboxd/handler/monitor"
	"outboxd/handler/signin"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// desk is a monitor whose people sign in at an OpenID provider.
type desk struct {
	*handlertest.Site
	t        *testing.T
	provider *mockoidc.MockOIDC
}

func newDesk(t *testing.T, change func(*signin.OIDC)) desk {
	t.Helper()
	provider, err := mockoidc.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := provider.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	s := handlertest.StartPages(t, func(o *monitor.Options) {
		o.Address = "0.0.0.0:8081"
		o.OIDC = signin.OIDC{
			Issuer: provider.Issuer(), ClientID: provider.ClientID, ClientSecret: provider.ClientSecret,
			Scopes: []string{"openid", "profile", "email", "groups"}, NameClaim: "email", RoleClaim: "groups",
			Roles: map[string]access.Role{"ops": access.Operator, "leads": access.Admin},
		}
		if change != nil {
			change(&o.OIDC)
		}
	})
	return desk{s, t, provider}
}

// leave goes to the provider, and returns the cookie of the trip and the address to
// which the provider sends the browser back.
func (d desk) leave(user mockoidc.User, next string) (cookie, back string) {
	d.t.Helper()
	d.provider.QueueUser(user)
	a := d.Get("/openid?next=" + url.QueryEscape(next))
	if a.Status != http.StatusSeeOther || !strings.HasPrefix(a.Header.Get("Location"), d.provider.Issuer()) {
		d.t.Fatalf("%d to %q: %s", a.Status, a.Header.Get("Location"), a.Body)
	}
	cookie, _, _ = strings.Cut(a.Header.Get("Set-Cookie"), ";")
	request, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, a.Header.Get("Location"), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	asked := request.URL.Query()
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		if len(asked.Get(name)) < 20 {
			d.t.Errorf("%s is %q", name, asked.Get(name))
		}
	}
	if asked.Get("code_challenge_method") != "S256" {
		d.t.Errorf("the method of PKCE is %q", asked.Get("code_challenge_method"))
	}
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		d.t.Fatal(err)
	}
	_ = answer.Body.Close()
	back, found := strings.CutPrefix(answer.Header.Get("Location"), d.URL)
	if !found || !strings.HasPrefix(back, "/callback?") {
		d.t.Fatalf("the provider answers %d and leads to %q", answer.StatusCode, answer.Header.Get("Location"))
	}
	return cookie, back
}

// session returns the Cookie header of the session that an answer begins.
func session(a handlertest.Answer) string {
	for _, cookie := range a.Header.Values("Set-Cookie") {
		if value, _, _ := strings.Cut(cookie, ";"); strings.HasPrefix(value, "outboxd_session=") {
			return value
		}
	}
	return ""
}

func somebody(change func(*mockoidc.MockUser)) *mockoidc.MockUser {
	u := &mockoidc.MockUser{Subject: "1", Email: "ada@example.com", EmailVerified: true, PreferredUsername: "ada", Groups: []string{"staff", "ops"}}
	if change != nil {
		change(u)
	}
	return u
}

// TestOpenIDConnect signs in at a provider, and acts.
func TestOpenIDConnect(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	form := d.Get("/signin?next=/dead")
	if !strings.Contains(form.Body, `href="./openid?next=%2fdead"`) && !strings.Contains(form.Body, `href="./openid?next=%2Fdead"`) || strings.Contains(form.Body, `id="token"`) {
		t.Errorf("the form is %s", form.Body)
	}
	cookie, back := d.leave(somebody(nil), "/dead?page=2")
	a := d.Get(back, "Cookie", cookie)
	if a.Status != http.StatusSeeOther || a.Header.Get("Location") != "./dead?page=2" {
		t.Fatalf("%d to %q: %s", a.Status, a.Header.Get("Location"), a.Body)
	}
	in := session(a)
	if page := d.Get("/", "Cookie", in); page.Status != http.StatusOK || !strings.Contains(page.Body, "ada@example.com") || !strings.Contains(page.Body, "Sign out") {
		t.Errorf("%d %s", page.Status, page.Body)
	}
	if a := d.Do(http.MethodPost, "/monitoring/tasks/api/queues/default:pause", "", "Cookie", in); a.Status != http.StatusNoContent {
		t.Errorf("an operator cannot pause: %d %s", a.Status, a.Body)
	}
	if a := d.Do(http.MethodDelete, "/monitoring/tasks/api/queues/default/pending_tasks/task-1", "", "Cookie", in); a.Status != http.StatusForbidden || !strings.Contains(a.Body, "role admin") {
		t.Errorf("an operator deletes: %d %s", a.Status, a.Body)
	}
	if lines := d.Log.Lines("a person has signed in"); len(lines) != 1 || lines[0]["who"] != "ada@example.com" || lines[0]["role"] != "operator" {
		t.Errorf("the log says %v", lines)
	}
	if again := d.Get(back, "Cookie", cookie); session(again) != "" {
		t.Error("an answer of the provider counts twice")
	}
}

// TestOpenIDConnectRefuses lists answers that begin no session.
func TestOpenIDConnectRefuses(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	for what, c := range map[string]struct {
		user   *mockoidc.MockUser
		forge  func(cookie, back string) (string, string)
		status int
		says   string
	}{
		"no role":          {somebody(func(u *mockoidc.MockUser) { u.Groups = []string{"staff"} }), nil, http.StatusForbidden, "ada@example.com has no role here"},
		"star as a group":  {somebody(func(u *mockoidc.MockUser) { u.Groups = []string{"*"} }), nil, http.StatusForbidden, "has no role here"},
		"no name":          {somebody(func(u *mockoidc.MockUser) { u.Email = "" }), nil, http.StatusForbidden, "no usable name"},
		"an admin token":   {somebody(func(u *mockoidc.MockUser) { u.Email = "admin token" }), nil, http.StatusForbidden, "no usable name"},
		"no cookie":        {somebody(nil), func(_, back string) (string, string) { return "a=b", back }, http.StatusUnauthorized, "another browser"},
		"another state":    {somebody(nil), func(cookie, back string) (string, string) { return cookie, back + "x" }, http.StatusUnauthorized, "another browser"},
		"a changed cookie": {somebody(nil), func(cookie, back string) (string, string) { return cookie[:len(cookie)-4] + "AAAA", back }, http.StatusUnauthorized, "another browser"},
		"an unknown code": {somebody(nil), func(cookie, back string) (string, string) {
			return cookie, strings.Replace(back, "code=", "code=x", 1)
		}, http.StatusUnauthorized, "sign in again"},
		"a refusal": {somebody(nil), func(cookie, back string) (string, string) {
			return cookie, back + "&error=access_denied&error_description=not+you"
		}, http.StatusForbidden, "access_denied not you"},
	} {
		t.Run(what, func(t *testing.T) {
			cookie, back := desk{d.Site, t, d.provider}.leave(c.user, "/")
			if c.forge != nil {
				cookie, back = c.forge(cookie, back)
			}
			a := d.Get(back, "Cookie", cookie)
			if a.Status != c.status || !strings.Contains(a.Body, c.says) || session(a) != "" {
				t.Errorf("%d %s, %q", a.Status, a.Body, session(a))
			}
		})
	}
	// A code that was given for one sign-in is of no use in another.
	ours, back := d.leave(somebody(nil), "/")
	_, theirs := d.leave(somebody(func(u *mockoidc.MockUser) { u.Email = "mallory@example.com" }), "/")
	code := func(address string) string { u, _ := url.Parse(address); return u.Query().Get("code") }
	if a := d.Get(strings.Replace(back, code(back), code(theirs), 1), "Cookie", ours); a.Status != http.StatusUnauthorized || session(a) != "" {
		t.Errorf("another's code signs in: %d %s", a.Status, a.Body)
	}
	// An ID token that has expired begins no session.
	ours, back = d.leave(somebody(nil), "/")
	d.provider.FastForward(-time.Hour)
	if a := d.Get(back, "Cookie", ours); a.Status != http.StatusUnauthorized || session(a) != "" {
		t.Errorf("an expired ID token signs in: %d %s", a.Status, a.Body)
	}
}

// TestOpenIDConnectMapsClaims takes the name from another claim, and gives
// everybody at least the role viewer.
func TestOpenIDConnectMapsClaims(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(o *signin.OIDC) {
		o.NameClaim, o.Roles = "preferred_username", map[string]access.Role{"*": access.Viewer, "leads": access.Admin}
	})
	for groups, want := range map[string]string{"staff": "viewer", "staff leads": "admin", "": "viewer"} {
		cookie, back := d.leave(somebody(func(u *mockoidc.MockUser) { u.Groups = strings.Fields(groups) }), "/")
		page := d.Get("/", "Cookie", session(d.Get(back, "Cookie", cookie)))
		if page.Status != http.StatusOK || !strings.Contains(page.Body, `title="ada, `+want+`"`) {
			t.Errorf("%q: %d %s", groups, page.Status, page.Body)
		}
	}
}

// late is a person of whom only the user info says whether the mail address is
// verified, as some providers do.
type late struct {
	*mockoidc.MockUser
	address  string // in the user info
	verified any
	padding  string
}

func (u late) Userinfo([]string) ([]byte, error) {
	return json.Marshal(map[string]any{"sub": u.Subject, "email": u.address, "email_verified": u.verified, "padding": u.padding})
}

// TestOpenIDConnectAsksWhetherAnAddressIsVerified has people whose ID tokens do not say whether
// their address is verified. Only the user info can let them in.
func TestOpenIDConnectAsksWhetherAnAddressIsVerified(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	for what, c := range map[string]struct {
		user   late
		status int
		says   string
	}{
		"verified":     {late{address: "ada@example.com", verified: true}, http.StatusSeeOther, ""},
		"not verified": {late{address: "ada@example.com", verified: false}, http.StatusForbidden, "has not verified the address ada@example.com"},
		"another's":    {late{address: "bob@example.com", verified: true}, http.StatusForbidden, "has not verified the address ada@example.com"},
		"a flood":      {late{address: "ada@example.com", verified: true, padding: strings.Repeat("x", 2<<20)}, http.StatusServiceUnavailable, "does not say who you are"},
	} {
		t.Run(what, func(t *testing.T) {
			c.user.MockUser = somebody(func(u *mockoidc.MockUser) { u.EmailVerified = false }) // mockoidc then leaves the claim out
			cookie, back := desk{d.Site, t, d.provider}.leave(c.user, "/")
			if a := d.Get(back, "Cookie", cookie); a.Status != c.status || !strings.Contains(a.Body, c.says) || (session(a) != "") != (c.says == "") {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
}

// TestOpenIDCallbackIsLimited sends a very long refusal, and then as many wrong
// codes as a client may send. After that the client has to wait even with a right
// code.
func TestOpenIDCallbackIsLimited(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(o *signin.OIDC) { o.Roles["*"] = access.Viewer })
	cookie, back := d.leave(somebody(nil), "/")
	refusal := d.Get(back+"&error=denied&error_description="+strings.Repeat("long+", 1000), "Cookie", cookie)
	if refusal.Status != http.StatusForbidden || len(refusal.Body) > 2000 {
		t.Errorf("%d, %d bytes", refusal.Status, len(refusal.Body))
	}
	for range signin.MaxFailures {
		cookie, back := d.leave(somebody(nil), "/")
		if a := d.Get(strings.Replace(back, "code=", "code=x", 1), "Cookie", cookie); a.Status != http.StatusUnauthorized {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	cookie, back = d.leave(somebody(nil), "/")
	if a := d.Get(back, "Cookie", cookie); a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" || session(a) != "" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// TestClaims reads claims as providers write them.
func TestClaims(t *testing.T) {
	t.Parallel()
	keycloak := signin.OIDC{NameClaim: "email", RoleClaim: "realm_access.roles", Roles: map[string]access.Role{"a": access.Viewer, "b": access.Admin}}
	dotted := signin.OIDC{NameClaim: "upn", RoleClaim: "https://example.com/roles", Roles: keycloak.Roles}
	for what, c := range map[string]struct {
		o      signin.OIDC
		claims string
		want   access.Role
	}{
		"nested":             {keycloak, `{"email": "ada@example.com", "realm_access": {"roles": ["a", "b", "c"]}}`, access.Admin},
		"a text":             {dotted, `{"upn": "ada", "https://example.com/roles": "a"}`, access.Viewer},
		"verified":           {keycloak, `{"email": "ada@example.com", "email_verified": true, "realm_access": {"roles": ["a"]}}`, access.Viewer},
		"verified as a text": {keycloak, `{"email": "ada@example.com", "email_verified": "true", "realm_access": {"roles": ["a"]}}`, access.Viewer},
		"not verified":       {keycloak, `{"email": "ada@example.com", "email_verified": false, "realm_access": {"roles": ["a"]}}`, access.None},
		"no object":          {keycloak, `{"email": "ada@example.com", "realm_access": "a"}`, access.None},
		"numbers":            {keycloak, `{"email": "ada@example.com", "realm_access": {"roles": [1, null]}}`, access.None},
		"a hidden character": {dotted, `{"upn": "ada\u202e", "https://example.com/roles": "a"}`, access.None},
		"a name of objects":  {dotted, `{"upn": {"x": 1}, "https://example.com/roles": "a"}`, access.None},
	} {
		if who, err := signin.PersonOf(c.o, c.claims); who.Role != c.want || (err == nil) != (c.want != access.None) {
			t.Errorf("%s: %v, %v, want %s", what, who, err, c.want)
		}
	}
}

// TestOpenIDProviderIsAway signs in by OpenID Connect while the provider is away,
// and then by token.
func TestOpenIDProviderIsAway(t *testing.T) {
	t.Parallel()
	s := handlertest.StartPages(t, func(o *monitor.Options) {
		o.Address, o.AdminToken = "0.0.0.0:8081", handlertest.AdminToken
		o.OIDC = signin.OIDC{Issuer: "http://127.0.0.1:1/", ClientID: "outboxd", Roles: map[string]access.Role{"*": access.Viewer}}
	})
	a := s.Get("/openid", "Accept", "text/html")
	if a.Status != http.StatusServiceUnavailable || !strings.Contains(a.Body, "OpenID provider cannot be used") || strings.Contains(a.Body, "127.0.0.1:1") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if s.Session() == "" { // the token still works
		t.Error("no session")
	}
}
