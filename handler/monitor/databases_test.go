package monitor_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
	"outboxd/handler/dashboard"
	"outboxd/handler/handlertest"
	"outboxd/handler/monitor"
)

// The first page lists several databases. Each has all pages below its name, and every link of these pages leads
// somewhere. While a database is not open, its pages say why.
func TestSeveralDatabasesHavePagesOfTheirOwn(t *testing.T) {
	t.Parallel()
	var open atomic.Bool
	seen := func(found string) dashboard.Sources {
		return dashboard.Sources{Look: func(time.Duration) diagnosis.Sight {
			return diagnosis.Sight{Findings: []domain.Finding{{Code: "queue-unserved", Level: domain.FindingWarning, Found: found}}}
		}}
	}
	s := handlertest.StartPages(t, func(o *monitor.Options) {
		o.AdminToken = handlertest.AdminToken
		o.Databases = []dashboard.Database{
			{Name: "orders", Open: func() (dashboard.Sources, error) { return seen("about orders"), nil }},
			{Name: "billing", Open: func() (dashboard.Sources, error) {
				if !open.Load() {
					return dashboard.Sources{}, domain.Errorf(domain.CodeUnavailable, "it lacks migrations")
				}
				return seen("about billing"), nil
			}},
		}
	})
	read := func(path string) handlertest.Answer {
		t.Helper()
		return s.Do(http.MethodGet, path, "", "Accept", "text/html")
	}
	want := func(path string, status int, texts ...string) string {
		t.Helper()
		a := read(path)
		for _, text := range texts {
			if a.Status != status || !strings.Contains(a.Body, text) {
				t.Errorf("%s: %d, want %d with %q:\n%.4000s", path, a.Status, status, text, a.Body)
			}
		}
		return a.Body
	}
	want("/", http.StatusOK, `href="./databases/orders/"`, "1 problem", "billing", "it lacks migrations")
	want("/databases/billing/", http.StatusServiceUnavailable, "It lacks migrations")
	want("/databases/billing/events", http.StatusServiceUnavailable, "It lacks migrations")
	want("/databases/stock/", http.StatusNotFound, "nothing at this address")
	want("/events", http.StatusNotFound, "nothing at this address")
	if a := read("/databases/orders"); a.Status != http.StatusPermanentRedirect || a.Header.Get("Location") != "orders/" {
		t.Errorf("%d to %q", a.Status, a.Header.Get("Location"))
	}
	want("/databases/orders/", http.StatusOK, "about orders", "outboxd · orders", `aria-current="page">Overview`)

	links := regexp.MustCompile(`(?:href|src|action|sse-connect)="([^"#]+)"`)
	for _, page := range []string{"/", "/databases/orders/", "/databases/orders/events?state=pending", "/databases/orders/events/0198c2a5-0000-7000-8000-000000000000"} {
		from, err := url.Parse(s.URL + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links.FindAllStringSubmatch(read(page).Body, -1) {
			to, err := from.Parse(html.UnescapeString(link[1]))
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(to.Path, "/live") { // this stream does not end
				continue
			}
			// A page may answer 503, because this test has no database. Only 404
			// and 405 mean that a link leads nowhere.
			if a := read(to.RequestURI()); a.Status == http.StatusNotFound || a.Status == http.StatusMethodNotAllowed && !strings.HasSuffix(to.Path, "/signout") {
				t.Errorf("the link %s of %s: %d", link[1], page, a.Status)
			}
		}
	}

	read("/databases/orders/history")
	for _, line := range s.Log.Lines("request") {
		if line["route"] == "/databases/orders/history" && line["level"] != "DEBUG" {
			t.Error("what open pages poll fills the log")
		}
	}

	open.Store(true)
	want("/databases/billing/", http.StatusOK, "about billing")
	want("/", http.StatusOK, `href="./databases/billing/"`)
}

// A person who signs in for the page of a database comes back to it, and is signed in
// for all databases.
func TestOneSignInForSeveralDatabases(t *testing.T) {
	t.Parallel()
	s := handlertest.StartPages(t, func(o *monitor.Options) {
		o.AdminToken, o.Address = handlertest.AdminToken, "0.0.0.0:8081"
		for _, name := range []string{"orders", "billing"} {
			o.Databases = append(o.Databases, dashboard.Database{Name: name, Open: func() (dashboard.Sources, error) { return dashboard.Sources{}, nil }})
		}
	})
	a := s.Do(http.MethodGet, "/databases/orders/events?state=held", "", "Accept", "text/html")
	if want := "../../signin?next=" + url.QueryEscape("/databases/orders/events?state=held"); a.Status != http.StatusSeeOther || a.Header.Get("Location") != want {
		t.Errorf("%d to %q, want %q", a.Status, a.Header.Get("Location"), want)
	}
	if a := s.Do(http.MethodGet, "/databases/orders/", ""); a.Status != http.StatusUnauthorized {
		t.Errorf("without a session: %d", a.Status)
	}
	if a := s.SignIn(handlertest.AdminToken, "/databases/orders/events?state=held"); a.Header.Get("Location") != "./databases/orders/events?state=held" {
		t.Errorf("to %q", a.Header.Get("Location"))
	}
	cookie := s.Session()
	for _, path := range []string{"/", "/databases/orders/", "/databases/billing/"} {
		if a := s.Do(http.MethodGet, path, "", "Accept", "text/html", "Cookie", cookie); a.Status != http.StatusOK || !strings.Contains(a.Body, `signout"`) {
			t.Errorf("%s: %d", path, a.Status)
		}
	}
}
