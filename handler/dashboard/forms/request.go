package forms

import (
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
)

// Asked returns the query of a request's address.
func Asked(c *fiber.Ctx) (url.Values, error) {
	values, err := url.ParseQuery(string(c.Request().URI().QueryString()))
	if err != nil {
		return nil, domain.Errorf(domain.CodeInvalid, "the address cannot be read: in a value, %% must be written as %%25 and ; as %%3B")
	}
	return values, refuseUnknown(values)
}

// Sent returns the form that a request sends.
func Sent(c *fiber.Ctx) (url.Values, error) {
	values, err := url.ParseQuery(string(c.Body()))
	if err != nil {
		return nil, domain.Errorf(domain.CodeInvalid, "the form cannot be read: in a value, %% must be written as %%25 and ; as %%3B (curl --data-urlencode)")
	}
	return values, refuseUnknown(values)
}

// fields are the names that an address or a form may have.
var fields = []string{
	"action", "after", "as", "by-field", "canary", "discard", "error", "error-form", "field", "from", "header", "id", "key", "next", "not-error", "not-error-form", "not-field", "not-header", "not-key",
	"not-state", "not-type", "of", "payload", "queue", "rate", "reason", "schedule", "scope", "since", "state", "type", "until", "window",
}

// refuseUnknown refuses a name that no page knows. If a misspelt not-field were ignored, a replay would take more than
// the visitor meant.
func refuseUnknown(values url.Values) error {
	for name := range values {
		if !slices.Contains(fields, name) {
			return domain.Errorf(domain.CodeInvalid, "there is no field %q; the fields are %s", name, strings.Join(fields, ", "))
		}
	}
	return nil
}
