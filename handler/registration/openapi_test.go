package registration_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"outboxd/app/faulttest"
	"outboxd/app/schematest"
	"outboxd/app/servertest"
	"outboxd/handler/handlertest"
	"outboxd/handler/registration"
)

// description is the part of OpenAPI 3.1 that the tests read.
type description struct {
	OpenAPI    string `json:"openapi"`
	Info       struct{ Title, Version string }
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]schema }
}

type operation struct {
	OperationID string `json:"operationId"`
	RequestBody struct {
		Required bool
		Content  map[string]struct{ Schema schema }
	} `json:"requestBody"`
	Parameters []struct {
		Name, In string
	}
	Responses map[string]struct {
		Content map[string]struct{ Schema schema }
		Headers map[string]any
	}
}

type schema struct {
	Ref                  string `json:"$ref"`
	Type                 any    `json:"type"`
	Properties           map[string]schema
	Required             []string
	AdditionalProperties any `json:"additionalProperties"`
	Items                *schema
}

func TestDescription(t *testing.T) {
	t.Parallel()
	s, _ := handlertest.StartAPI(t, nil)
	a := s.Get("/openapi.json")
	d := handlertest.Decode[description](t, a)
	if a.Status != http.StatusOK || d.OpenAPI != "3.1.0" || d.Info.Title != "outboxd" || d.Info.Version != "1.2.3" {
		t.Errorf("%d %s: %s %+v", a.Status, a.Header.Get("Content-Type"), d.OpenAPI, d.Info)
	}
	var routes []string
	for path, operations := range d.Paths {
		for method := range operations {
			routes = append(routes, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(routes)
	if want := []string{"GET /api/v1/users/{id}", "POST /api/v1/users"}; !slices.Equal(routes, want) {
		t.Errorf("described %v, want %v", routes, want)
	}
	// The other way round: no route under /api/ is left out.
	for _, r := range registration.DocumentedRoutes(registration.New(registration.Options{Logger: s.Log.Logger()})) {
		if strings.HasPrefix(r.Path, "/api/") && r.Method != http.MethodHead &&
			!slices.Contains(routes, r.Method+" "+strings.Replace(r.Path, ":id", "{id}", 1)) {
			t.Errorf("%s %s is not described", r.Method, r.Path)
		}
	}
	body := d.Paths["/api/v1/users"]["post"].RequestBody
	if ref := body.Content["application/json"].Schema.Ref; !body.Required || len(body.Content) != 1 || ref != "#/components/schemas/Registration" {
		t.Errorf("request body %+v", body)
	}
	if r := d.Components.Schemas["Registration"]; !slices.Equal(r.Required, []string{"email", "password"}) || r.AdditionalProperties != false {
		t.Errorf("registration %+v", r)
	}
	for name := range d.Components.Schemas {
		if !strings.Contains(a.Body, "#/components/schemas/"+name+`"`) {
			t.Errorf("nothing refers to the schema %s", name)
		}
	}
	var asYAML, asJSON any
	if err := yaml.Unmarshal([]byte(s.Get("/openapi.yaml").Body), &asYAML); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(a.Body), &asJSON); err != nil {
		t.Fatal(err)
	}
	fromYAML, err := json.Marshal(asYAML)
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := json.Marshal(asJSON)
	if err != nil {
		t.Fatal(err)
	}
	if string(fromYAML) != string(fromJSON) {
		t.Errorf("YAML and JSON differ:\n%s\n%s", fromYAML, fromJSON)
	}
}

// TestDescriptionIsTrue causes every response that the description promises,
// and finds each as described: media type, headers, members and their types.
func TestDescriptionIsTrue(t *testing.T) {
	t.Parallel()
	proxy := faulttest.NewProxy(t, schematest.Database(t))
	db := handlertest.OpenDatabase(t, proxy.URL())
	s := handlertest.StartAPIOn(t, db, nil)
	limited := handlertest.StartAPIOn(t, db, func(o *registration.Options) { o.RateLimit = 1 })
	d := handlertest.Decode[description](t, s.Get("/openapi.json"))

	const nobody = "/api/v1/users/0198c5f1-6b7e-7c55-8a3f-0d6d4c0a2f11"
	created := s.Register(handlertest.RegisterBody)
	location := created.Header.Get("Location")
	limited.Get(location)
	register, find := map[string]handlertest.Answer{
		"201": created,
		"400": s.Register("{"),
		"409": s.Register(handlertest.RegisterBody),
		"413": s.Register(handlertest.RegisterBody + strings.Repeat(" ", registration.DefaultBodyLimit)),
		"415": s.Do(http.MethodPost, "/api/v1/users", handlertest.RegisterBody, "Content-Type", "text/plain"),
		"422": s.Register("{}"),
		"429": limited.Register(handlertest.RegisterBody),
	}, map[string]handlertest.Answer{
		"200": s.Get(location),
		"404": s.Get(nobody),
		"422": s.Get("/api/v1/users/1"),
		"429": limited.Get(location),
	}
	other := strings.Replace(handlertest.RegisterBody, "ada", "bob", 1)
	proxy.Refuse()
	register["503"], find["503"] = s.Register(other), s.Get(location)
	proxy.Resume()
	servertest.Eventually(t, "the database answers", func() bool { return s.Get(location).Status == http.StatusOK })
	if _, err := db.SQL().ExecContext(t.Context(), "DROP TABLE outboxd_example.users CASCADE"); err != nil {
		t.Fatal(err)
	}
	register["500"], find["500"] = s.Register(other), s.Get(location)

	d.compare(t, d.Paths["/api/v1/users"]["post"], register)
	d.compare(t, d.Paths["/api/v1/users/{id}"]["get"], find)
}

func (d description) compare(t *testing.T, o operation, answers map[string]handlertest.Answer) {
	t.Helper()
	described, caused := slices.Sorted(maps.Keys(o.Responses)), slices.Sorted(maps.Keys(answers))
	if !slices.Equal(described, caused) {
		t.Errorf("%s: described %v, caused %v", o.OperationID, described, caused)
	}
	for status, a := range answers {
		if got := http.StatusText(a.Status); got != http.StatusText(atoi(status)) {
			t.Errorf("%s: wanted to cause %s, got %d: %s", o.OperationID, status, a.Status, a.Body)
			continue
		}
		media, ok := o.Responses[status].Content[a.Header.Get("Content-Type")]
		if !ok {
			t.Errorf("%s %s: %s is not described", o.OperationID, status, a.Header.Get("Content-Type"))
			continue
		}
		d.conforms(t, o.OperationID+" "+status, media.Schema, handlertest.Decode[any](t, a))
		for _, name := range []string{"Location", "Retry-After"} {
			_, described := o.Responses[status].Headers[name]
			if sent := a.Header.Get(name) != ""; sent != described {
				t.Errorf("%s %s: %s sent %v, described %v", o.OperationID, status, name, sent, described)
			}
		}
	}
}

func atoi(s string) (n int) {
	for _, digit := range s {
		n = 10*n + int(digit-'0')
	}
	return n
}

// conforms checks a value against a schema: types, required members, and no
// others than the described.
func (d description) conforms(t *testing.T, where string, s schema, value any) {
	t.Helper()
	if s.Ref != "" {
		s = d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	var types []any
	if several, ok := s.Type.([]any); ok {
		types = several
	} else {
		types = []any{s.Type}
	}
	is := ""
	switch v := value.(type) {
	case nil:
		is = "null"
	case string:
		is = "string"
	case float64:
		is = "integer"
	case []any:
		is = "array"
		for _, item := range v {
			d.conforms(t, where+"[]", *s.Items, item)
		}
	case map[string]any:
		is = "object"
		for name, member := range v {
			property, described := s.Properties[name]
			if !described {
				t.Errorf("%s.%s is not described", where, name)
				continue
			}
			d.conforms(t, where+"."+name, property, member)
		}
		for _, name := range s.Required {
			if _, there := v[name]; !there {
				t.Errorf("%s.%s is missing", where, name)
			}
		}
	}
	if !slices.Contains(types, any(is)) {
		t.Errorf("%s is %s, described as %v", where, is, types)
	}
}

func TestDocsPageNeedsNothingFromOutside(t *testing.T) {
	t.Parallel()
	s, _ := handlertest.StartAPI(t, nil)
	for _, path := range []string{"/", "/docs/"} {
		if a := s.Get(path); a.Status != http.StatusFound || a.Header.Get("Location") != "/docs" {
			t.Errorf("%s: %d to %q", path, a.Status, a.Header.Get("Location"))
		}
	}
	page := s.Get("/docs")
	if page.Status != http.StatusOK || page.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %s", page.Status, page.Header.Get("Content-Type"))
	}
	policy := page.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "script-src 'self';") || strings.Contains(policy, "http") {
		t.Errorf("policy %q", policy)
	}
	links := regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(page.Body, -1)
	if len(links) < 4 {
		t.Fatalf("links %v", links)
	}
	for _, link := range links {
		if strings.HasPrefix(link[1], "data:") {
			continue
		}
		if strings.Contains(link[1], "//") || strings.HasPrefix(link[1], "/") {
			t.Errorf("%s does not belong to this server, or breaks behind a prefix", link[1])
			continue
		}
		if a := s.Get("/" + link[1]); a.Status != http.StatusOK || len(a.Body) < 100 || strings.Contains(a.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %d, %d bytes of %s", link[1], a.Status, len(a.Body), a.Header.Get("Content-Type"))
		}
	}
	if script := s.Get("/docs/initializer.js").Body; strings.Contains(script, "http") || !strings.Contains(script, "validatorUrl: null") {
		t.Errorf("the initializer reaches out: %s", script)
	}
}
