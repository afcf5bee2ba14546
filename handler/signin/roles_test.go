package signin_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/handler/handlertest"
	"outboxd/handler/monitor"
)

// people has a token of each role.
type people map[access.Role]string

func newPeople(o *monitor.Options) people {
	tokens := people{}
	for _, role := range access.Roles() {
		tokens[role] = access.NewToken()
		o.Tokens = append(o.Tokens, access.Token{Identity: access.Identity{Name: role.String() + "@example.com", Role: role}, Digest: access.DigestOf(tokens[role])})
	}
	return tokens
}

// public reports whether a route needs no sign-in.
func public(path string) bool {
	switch path {
	case "/healthz", "/readyz", "/metrics", "/signin", "/signout", "/openid", "/callback", "/monitoring/tasks", "/*":
		return true
	default:
		return strings.HasPrefix(path, "/assets/")
	}
}

// changes has one action for each route for forms. If a route has several actions, it is
// the one that is used if the form names no action.
var changes = map[string]string{
	"/failing/change": domain.ActionRetry,
	"/dead/change":    access.Replay,

	"/queues/change":      domain.ActionPause,
	"/schedules/change":   domain.ActionPause,
	"/events/:id/correct": access.Correct,
	"/events/cancel":      access.Cancel,
}

// TestEveryRouteTakesARole asks for every route of the pages, as nobody and with
// each role. TestAsynqmonTakesRoles asks for Asynqmon's.
func TestEveryRouteTakesARole(t *testing.T) {
	t.Parallel()
	var options monitor.Options
	var tokens people
	s := handlertest.StartPages(t, func(o *monitor.Options) {
		o.Address, tokens = "0.0.0.0:8081", newPeople(o)
		options = *o
	})
	options.Registry = prometheus.NewRegistry()
	looked := 0
	for _, route := range monitor.New(options).GetRoutes(true) {
		if public(route.Path) || route.Method == http.MethodHead || strings.HasPrefix(route.Path, "/monitoring/tasks/") {
			continue
		}
		action, known := changes[route.Path]
		switch {
		case route.Method == http.MethodGet:
			action = access.See
		case !known:
			t.Errorf("%s %s: this test does not know which role it takes", route.Method, route.Path)
			continue
		}
		looked++
		path := strings.NewReplacer(":id", "01980000-0000-7000-8000-000000000000", ":name", "a").Replace(route.Path)
		if path == "/live" {
			path += "?never=ends" // wants reads only the refusals of this stream, because the stream does not end
		}
		wants(t, s, route.Method, path, "", action, tokens)
	}
	if looked < 15 {
		t.Errorf("looked at %d routes only", looked)
	}
}

// wants asks for a route as nobody and with each role, and checks who is refused.
func wants(t *testing.T, s *handlertest.Site, method, path, body, action string, tokens people) {
	t.Helper()
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	if a := s.Do(method, path, body, form...); a.Status != http.StatusUnauthorized {
		t.Errorf("%s %s: nobody gets %d, want 401", method, path, a.Status)
	}
	for _, role := range access.Roles() {
		if strings.HasPrefix(path, "/live") && role >= access.Viewer {
			continue
		}
		a := s.Do(method, path, body, append(form, "Authorization", "Bearer "+tokens[role])...)
		refused := a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden
		if want := role < access.LeastRole(action); refused != want {
			t.Errorf("%s %s as %s: %d, want it refused: %v", method, path, role, a.Status, want)
		}
		if refused && (!strings.Contains(a.Body, access.LeastRole(action).String()) || !strings.Contains(a.Body, role.String()+"@example.com")) {
			t.Errorf("%s %s as %s does not say which role it takes: %s", method, path, role, a.Body)
		}
	}
}

// TestFormsTakeTheRoleOfTheirAction sends forms that choose among actions.
func TestFormsTakeTheRoleOfTheirAction(t *testing.T) {
	t.Parallel()
	var tokens people
	s := handlertest.StartPages(t, func(o *monitor.Options) { o.Address, tokens = "0.0.0.0:8081", newPeople(o) })
	for action, path := range map[string]string{
		access.Replay: "/dead/change", access.Discard: "/dead/change",
		domain.ActionRetry: "/failing/change", domain.ActionGiveUp: "/failing/change",
	} {
		wants(t, s, http.MethodPost, path, "type=a&action="+strings.ReplaceAll(action, " ", "+"), action, tokens)
	}
}

// TestAsynqmonTakesRoles changes tasks and queues in Asynqmon.
func TestAsynqmonTakesRoles(t *testing.T) {
	t.Parallel()
	var tokens people
	s := handlertest.StartPages(t, func(o *monitor.Options) { o.Address, tokens = "0.0.0.0:8081", newPeople(o) })
	const queue = "/monitoring/tasks/api/queues/default"
	for _, c := range []struct{ method, path, action string }{
		{http.MethodGet, queue + "/pending_tasks", access.See},
		{http.MethodPost, queue + ":pause", domain.ActionPause},
		{http.MethodPost, queue + ":resume", domain.ActionResume},
		{http.MethodPost, queue + "/retry_tasks/x:run", domain.ActionRetry},
		{http.MethodPost, queue + "/retry_tasks/x:archive", domain.ActionGiveUp},
		{http.MethodDelete, queue + "/pending_tasks/none", access.Discard},
		{http.MethodDelete, queue, access.Remove},
		{http.MethodPost, queue + ":unheard", ""},
	} {
		wants(t, s, c.method, c.path, "", c.action, tokens)
	}
	if lines := s.Log.Lines("tasks were changed in Asynqmon"); len(lines) == 0 || lines[0]["who"] != "operator@example.com" {
		t.Errorf("the log says %v", lines)
	}
}

// TestOnlyAnAdminSeesPayloadsAsTheyAre looks at a task with a secret value.
func TestOnlyAnAdminSeesPayloadsAsTheyAre(t *testing.T) {
	t.Parallel()
	var tokens people
	s := handlertest.StartPages(t, func(o *monitor.Options) {
		o.Address, tokens = "0.0.0.0:8081", newPeople(o)
		o.Sources.Mask = []string{"user_id"}
	})
	for role, token := range tokens {
		// Asynqmon's router decodes a path before it looks at it.
		for _, api := range []string{"api", "%61pi", "static/%2e%2e/api"} {
			if a := s.Get("/monitoring/tasks/"+api+"/queues/default/pending_tasks", "Authorization", "Bearer "+token); role != access.Admin && strings.Contains(a.Body, "user_id") && !strings.Contains(a.Body, "•••") {
				t.Errorf("%s gets %d %s by %s", role, a.Status, a.Body, api)
			}
		}
		a := s.Get("/monitoring/tasks/api/queues/default/pending_tasks", "Authorization", "Bearer "+token)
		if shows := strings.Contains(a.Body, `user_id\":\"u`) || strings.Contains(a.Body, `user_id\": \"u`); a.Status != http.StatusOK || shows != (role == access.Admin) {
			t.Errorf("%s gets %d %s", role, a.Status, a.Body)
		}
	}
}

// TestAProxyNamesPeople trusts the header only of trusted addresses.
func TestAProxyNamesPeople(t *testing.T) {
	t.Parallel()
	const header = "X-Forwarded-User"
	start := func(trusted bool) *handlertest.Site {
		return handlertest.StartPages(t, func(o *monitor.Options) {
			o.Address, o.IdentityHeader, o.IdentityRole = "0.0.0.0:8081", header, access.Operator
			if trusted {
				o.TrustedProxies = loopback
			}
		})
	}
	s := start(true)
	page := s.Get("/", header, "ada@example.com")
	if page.Status != http.StatusOK || !strings.Contains(page.Body, "ada@example.com") || strings.Contains(page.Body, "Sign out") {
		t.Errorf("%d %s", page.Status, page.Body)
	}
	pause := "/monitoring/tasks/api/queues/default:pause"
	for what, c := range map[string]struct {
		method  string
		headers []string
		want    int
	}{
		"pauses":            {http.MethodPost, []string{header, "ada"}, http.StatusNoContent},
		"from another site": {http.MethodPost, []string{header, "ada", "Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		"nobody":            {http.MethodPost, nil, http.StatusForbidden},
		"empty":             {http.MethodPost, []string{header, ""}, http.StatusForbidden},
		"the admin token":   {http.MethodPost, []string{header, "admin token"}, http.StatusForbidden},
		"two names":         {http.MethodPost, []string{header, "ada", header, "bob"}, http.StatusForbidden},
		"two names look":    {http.MethodGet, []string{header, "ada", header, "bob"}, http.StatusForbidden},
		"deletes":           {http.MethodDelete, []string{header, "ada"}, http.StatusForbidden},
	} {
		if a := s.Do(c.method, pause, "", c.headers...); a.Status != c.want {
			t.Errorf("%s: %d %s, want %d", what, a.Status, a.Body, c.want)
		}
	}
	if a := start(false).Get("/", header, "ada@example.com"); a.Status != http.StatusForbidden {
		t.Errorf("an address that is not trusted names somebody: %d", a.Status)
	}
}

// TestSignInLeadsBackToTheForm sends a form after the session has ended.
func TestSignInLeadsBackToTheForm(t *testing.T) {
	t.Parallel()
	s := handlertest.StartPages(t, func(o *monitor.Options) { o.Address, o.AdminToken = "0.0.0.0:8081", handlertest.AdminToken })
	for referer, want := range map[string]string{
		s.URL + "/dead/change?action=replay&type=a": "%2Fdead%2Fchange%3Faction%3Dreplay%26type%3Da",
		s.URL + "/ops/dead/change?type=a":           "%2Fdead%2Fchange%3Ftype%3Da",
		"https://evil.example/dead/change":          "%2F",
		"":                                          "%2F",
	} {
		a := s.Do(http.MethodPost, "/dead/change", "action=replay&type=a", "Referer", referer, "Accept", "text/html", "Content-Type", "application/x-www-form-urlencoded")
		if got := a.Header.Get("Location"); a.Status != http.StatusSeeOther || got != "../signin?next="+want {
			t.Errorf("from %q: %d to %q, want %q", referer, a.Status, got, want)
		}
	}
}
