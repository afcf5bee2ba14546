package signin_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"outboxd/app/schematest"
	"outboxd/domain/access"
	"outboxd/handler/handlertest"
	"outboxd/handler/monitor"
	"outboxd/repository/deadletters"
	"outboxd/repository/search"
)

// TestHiddenValuesCannotBeGuessed asks every page that chooses events for a hidden value, as if to guess it letter by
// letter.
func TestHiddenValuesCannotBeGuessed(t *testing.T) {
	t.Parallel()
	db := schematest.Open(t)
	var tokens people
	s := handlertest.StartPages(t, func(o *monitor.Options) {
		tokens = newPeople(o)
		o.Sources.Mask, o.Sources.Lives, o.Sources.Dead = []string{"password", "authorization"}, search.NewLives(db), deadletters.New(db)
	})
	status := func(method, path, query string, role access.Role) int {
		body, headers := "", []string{"Authorization", "Bearer " + tokens[role]}
		if method == http.MethodPost {
			body, headers = query, append(headers, "Content-Type", "application/x-www-form-urlencoded")
		} else {
			path += "?" + query
		}
		return s.Do(method, path, body, headers...).Status
	}
	for _, page := range []string{
		"GET /events", "GET /events/export?as=csv", "GET /events/cancel", "GET /dead", "GET /dead/group", "GET /dead/fields", "GET /dead/export?as=csv", "GET /dead/change?action=replay",
		"POST /dead/change?action=replay",
	} {
		method, address, _ := strings.Cut(page, " ")
		path, more, _ := strings.Cut(address, "?")
		least := access.Viewer
		if method == http.MethodPost {
			least = access.Operator
		}
		for _, condition := range []string{"field=card.pass_word=a*", "field=passwords.0=", "not-field=Password=a", "header=authorization=Bearer a", "not-header=Authorization=x"} {
			name, value, _ := strings.Cut(condition, "=")
			query := more + "&" + url.Values{name: {value}}.Encode()
			if got := status(method, path, query, least); page != "GET /dead/fields" && got != http.StatusUnprocessableEntity {
				t.Errorf("%s with %s as %s: %d, want 422", page, condition, least, got)
			}
			if got := status(method, path, query, access.Admin); got != http.StatusOK && method == http.MethodGet {
				t.Errorf("%s with %s as admin: %d, want 200", page, condition, got)
			}
		}
		if got := status(method, path, more+"&field=card.password&header=authorization", least); method == http.MethodGet && got != http.StatusOK {
			t.Errorf("%s by the names alone: %d, want 200", page, got)
		}
	}
}
