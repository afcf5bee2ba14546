package registration_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"outboxd/app/faulttest"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/domain"
	example "outboxd/domain/registration"
	"outboxd/handler/handlertest"
	"outboxd/handler/registration"
)

// bad is a request, and the problem with which the API must answer it.
type bad struct {
	method, path, body string
	headers            []string
	status             int
	fields             string // field and message of each entry
	detail             string // a part of it
}

func (b bad) check(t *testing.T, s *handlertest.Site) {
	t.Helper()
	p := handlertest.WantProblem(t, s.Do(b.method, b.path, b.body, b.headers...), b.status)
	var fields []string
	for _, e := range p.Errors {
		fields = append(fields, e.Field+" "+e.Message)
	}
	if got := strings.Join(fields, "; "); got != b.fields {
		t.Errorf("fields %q, want %q", got, b.fields)
	}
	if !strings.Contains(p.Detail, b.detail) {
		t.Errorf("detail %q, want %q in it", p.Detail, b.detail)
	}
}

func TestBadRegistrations(t *testing.T) {
	t.Parallel()
	s, db := handlertest.StartAPI(t, nil)
	if a := s.Register(handlertest.RegisterBody); a.Status != http.StatusCreated {
		t.Fatalf("%d: %s", a.Status, a.Body)
	}
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	cases := map[string]bad{
		"no body":                  {status: 400},
		"broken JSON":              {body: `{"email":"ada@`, status: 400, detail: "byte"},
		"two values":               {body: handlertest.RegisterBody + handlertest.RegisterBody, status: 400, detail: "JSON"},
		"not UTF-8":                {body: "{\"email\":\"\xff\"}", status: 400, detail: "UTF-8"},
		"form":                     {body: "email=ada", headers: form, status: 415, detail: "application/json"},
		"no content type":          {body: handlertest.RegisterBody, headers: []string{"Accept", "*/*"}, status: 415},
		"other charset":            {body: handlertest.RegisterBody, headers: []string{"Content-Type", "application/json; charset=utf-16"}, status: 415},
		"compressed":               {body: handlertest.RegisterBody, headers: []string{"Content-Type", "application/json", "Content-Encoding", "gzip"}, status: 415, detail: "compressed"},
		"array":                    {body: `[]`, status: 422, detail: "object"},
		"null":                     {body: `null`, status: 422, detail: "object"},
		"nothing":                  {body: `{}`, status: 422, fields: "email is required; password is required"},
		"unknown field":            {body: `{"email":"bob@example.com","password":"long enough","admin":true}`, status: 422, fields: "admin is not known"},
		"wrong case":               {body: `{"Email":"bob@example.com","password":"long enough"}`, status: 422, fields: "Email is not known; email is required"},
		"wrong types":              {body: `{"email":["a"],"password":12345678}`, status: 422, fields: "email must be a string; password must be a string"},
		"null field":               {body: `{"email":null,"password":"long enough"}`, status: 422, fields: "email must be a string"},
		"doubled field":            {body: `{"email":"bob@example.com","email":"eve@example.com","password":"long enough"}`, status: 422, fields: "email must be given once"},
		"all kinds at once":        {body: `{"email":"nobody","x":1}`, status: 422, fields: "password is required; x is not known; email must be an e-mail address such as ada@example.com"},
		"half a character":         {body: `{"email":"bob@example.com","password":"long enough\ud800"}`, status: 422, fields: "password must be valid Unicode: it has one half of a surrogate pair"},
		"halves in wrong order":    {body: `{"email":"bob@example.com","password":"long enough\udc00\ud800"}`, status: 422, fields: "password must be valid Unicode: it has one half of a surrogate pair"},
		"two halves apart":         {body: `{"email":"bob@example.com","password":"long enough\ud83d.\ude00"}`, status: 422, fields: "password must be valid Unicode: it has one half of a surrogate pair"},
		"pairs, no halves":         {body: `{"email":"bob","password":"long enough\ud83d\ude00\\ud800\u00e9"}`, status: 422, fields: "email must be an e-mail address such as ada@example.com"},
		"short password":           {body: `{"email":"bob@example.com","password":"1234567"}`, status: 422, fields: "password must have at least 8 bytes"},
		"long password":            {body: `{"email":"bob@example.com","password":"` + strings.Repeat("x", 1025) + `"}`, status: 422, fields: "password must have at most 1024 bytes"},
		"duplicate":                {body: handlertest.RegisterBody, status: 409, fields: "email is already registered"},
		"duplicate in other case":  {body: strings.Replace(handlertest.RegisterBody, "ada@", "ADA@", 1), status: 409, fields: "email is already registered"},
		"too large":                {body: handlertest.RegisterBody + strings.Repeat(" ", registration.DefaultBodyLimit), status: 413, detail: "65536 bytes"},
		"much too large":           {body: handlertest.RegisterBody + strings.Repeat(" ", 100<<10), status: 413, detail: "65536 bytes"},
		"empty key":                {body: handlertest.RegisterBody, headers: []string{"Content-Type", "application/json", "Idempotency-Key", `""`}, status: 400, fields: "Idempotency-Key must not be empty"},
		"two keys":                 {body: handlertest.RegisterBody, headers: []string{"Content-Type", "application/json", "Idempotency-Key", "a", "Idempotency-Key", "b"}, status: 400, fields: "Idempotency-Key must be given once"},
		"long key":                 {body: handlertest.RegisterBody, headers: []string{"Content-Type", "application/json", "Idempotency-Key", strings.Repeat("k", 256)}, status: 400, fields: "Idempotency-Key must have at most 255 characters"},
		"deeply nested, not known": {body: `{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, status: 400},
	}
	for name, b := range cases {
		t.Run(name, func(t *testing.T) {
			b.method, b.path = http.MethodPost, "/api/v1/users"
			if b.headers == nil {
				b.headers = []string{"Content-Type", "application/json"}
			}
			b.check(t, s)
		})
	}
	var users int
	if err := db.SQL().QueryRowContext(t.Context(), "SELECT count(*) FROM outboxd_example.users").Scan(&users); err != nil || users != 1 {
		t.Errorf("%d users, error %v: a refused request must register nobody", users, err)
	}
	for _, secret := range []string{"long enough", "1234567", handlertest.Password} {
		if strings.Contains(s.Log.String(), secret) {
			t.Errorf("password %q was logged", secret)
		}
	}
}

func TestBodyOfExactlyTheLimit(t *testing.T) {
	t.Parallel()
	s, _ := handlertest.StartAPI(t, nil)
	body := handlertest.RegisterBody + strings.Repeat(" ", registration.DefaultBodyLimit-len(handlertest.RegisterBody))
	if a := s.Register(body); a.Status != http.StatusCreated {
		t.Errorf("%d: %s", a.Status, a.Body)
	}
}

func TestBadAddresses(t *testing.T) {
	t.Parallel()
	s, _ := handlertest.StartAPI(t, nil)
	const user = "/api/v1/users/0198c5f1-6b7e-7c55-8a3f-0d6d4c0a2f11"
	cases := map[string]struct {
		bad
		allow string
	}{
		"unknown route":           {bad{path: "/api/v2/users", status: 404}, ""},
		"unknown page":            {bad{path: "/nowhere", status: 404}, ""},
		"trailing slash":          {bad{path: "/api/v1/users/", status: 404}, ""},
		"markup in the address":   {bad{path: "/<script>", status: 404}, ""},
		"no such user":            {bad{path: user, status: 404, detail: "no user"}, ""},
		"no UUID":                 {bad{path: "/api/v1/users/1", status: 422, fields: "id must be a UUID"}, ""},
		"wrong method":            {bad{method: "DELETE", path: "/api/v1/users", status: 405}, "POST"},
		"wrong method, user":      {bad{method: "PUT", path: user, status: 405}, "GET, HEAD"},
		"unknown method":          {bad{method: "BREW", path: "/api/v1/users", status: 405}, "POST"},
		"unknown method, nowhere": {bad{method: "BREW", path: "/nowhere", status: 404}, ""},
		"listing users":           {bad{path: "/api/v1/users", status: 405}, "POST"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.method == "" {
				c.method = http.MethodGet
			}
			c.check(t, s)
			if got := s.Do(c.method, c.path, "").Header.Get("Allow"); got != c.allow {
				t.Errorf("Allow %q, want %q", got, c.allow)
			}
		})
	}
}

func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	proxy := faulttest.NewProxy(t, schematest.Database(t))
	s := handlertest.StartAPIOn(t, handlertest.OpenDatabase(t, proxy.URL()), nil)
	if a := s.Register(handlertest.RegisterBody); a.Status != http.StatusCreated {
		t.Fatalf("%d: %s", a.Status, a.Body)
	}
	proxy.Refuse()
	for name, send := range map[string]func() handlertest.Answer{
		"register": func() handlertest.Answer {
			return s.Register(strings.Replace(handlertest.RegisterBody, "ada", "bob", 1))
		},
		"register by a key": func() handlertest.Answer { return s.Register(handlertest.RegisterBody, "Idempotency-Key", "k") },
		"find":              func() handlertest.Answer { return s.Get("/api/v1/users/0198c5f1-6b7e-7c55-8a3f-0d6d4c0a2f11") },
	} {
		a := send()
		p := handlertest.WantProblem(t, a, http.StatusServiceUnavailable)
		if a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", name)
		}
		if strings.Contains(a.Body, proxy.Addr()) || strings.Contains(a.Body, "dial") || !strings.Contains(p.Detail, "database") {
			t.Errorf("%s: %s", name, a.Body)
		}
	}
	proxy.Resume()
	servertest.Eventually(t, "the database is back", func() bool {
		return s.Register(strings.Replace(handlertest.RegisterBody, "ada", "eve", 1)).Status == http.StatusCreated
	})
}

func TestDatabaseStalls(t *testing.T) {
	t.Parallel()
	proxy := faulttest.NewProxy(t, schematest.Database(t))
	s := handlertest.StartAPIOn(t, handlertest.OpenDatabase(t, proxy.URL()), func(o *registration.Options) { o.Timeouts.Request = 300 * time.Millisecond })
	proxy.Stall()
	a := s.Register(handlertest.RegisterBody)
	handlertest.WantProblem(t, a, http.StatusServiceUnavailable)
	proxy.Resume()
}

func TestUnexpectedErrorIsLoggedOnceAndNotTold(t *testing.T) {
	t.Parallel()
	s, db := handlertest.StartAPI(t, nil)
	if _, err := db.SQL().ExecContext(t.Context(), "DROP TABLE outboxd_example.notifications CASCADE"); err != nil {
		t.Fatal(err)
	}
	a := s.Register(handlertest.RegisterBody)
	p := handlertest.WantProblem(t, a, http.StatusInternalServerError)
	if strings.Contains(a.Body, "notifications") || strings.Contains(a.Body, "42P01") {
		t.Errorf("told the cause: %s", a.Body)
	}
	told := s.Log.Lines("request failed")
	if len(told) != 1 || !strings.Contains(fmt.Sprint(told[0]["error"]), "42P01") || told[0]["request_id"] != p.RequestID || told[0]["level"] != "ERROR" {
		t.Errorf("logged %v, want the cause once", told)
	}
}

// panicking is a store whose FindUser panics, which no real store does on demand.
type panicking struct{ example.UserStore }

func (panicking) FindUser(context.Context, domain.ID) (*example.User, []example.Notification, error) {
	panic("secret state")
}

func TestPanicIsLoggedOnceAndNotTold(t *testing.T) {
	t.Parallel()
	log := &handlertest.LogBook{}
	s := handlertest.Listen(t, registration.New(registration.Options{Users: panicking{}, Logger: log.Logger()}), log)
	for range 2 {
		a := s.Get("/api/v1/users/0198c5f1-6b7e-7c55-8a3f-0d6d4c0a2f11")
		handlertest.WantProblem(t, a, http.StatusInternalServerError)
		if strings.Contains(a.Body, "secret") || strings.Contains(a.Body, "goroutine") {
			t.Errorf("told the panic: %s", a.Body)
		}
	}
	told := log.Lines("request failed")
	if len(told) != 2 || told[0]["error"] != "secret state" || !strings.Contains(fmt.Sprint(told[0]["stack"]), "panicking.FindUser") {
		t.Errorf("logged %v, want each panic once with its stack", told)
	}
	if got := len(log.Lines("request")); got != 2 {
		t.Errorf("%d access lines, want 2", got)
	}
}
