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
	return complete(values)
}

// Sent returns the form that a request sends.
func Sent(c *fiber.Ctx) (url.Values, error) {
	values, err := url.ParseQuery(string(c.Body()))
	if err != nil {
		return nil, domain.Errorf(domain.CodeInvalid, "the form cannot be read: in a value, %% must be written as %%25 and ; as %%3B (curl --data-urlencode)")
	}
	return complete(values)
}

// choiceField is the hidden field of a form that has a whole choice, as the query of an address. A browser changes the
// line breaks in what a form sends: a text of several lines would come back as another text, and the form would choose
// other events than the visitor saw. A query is percent-encoded, so it has no line breaks.
const choiceField = "choice"

// complete adds the fields of the form's choice to the other fields of the form.
func complete(values url.Values) (url.Values, error) {
	encoded := values[choiceField]
	delete(values, choiceField)
	for _, query := range encoded {
		chosen, err := url.ParseQuery(query)
		if err != nil {
			return nil, domain.Errorf(domain.CodeInvalid, "the field %q cannot be read: it is the query of an address", choiceField)
		}
		for name, texts := range chosen {
			if len(values[name]) > 0 {
				return nil, domain.Errorf(domain.CodeInvalid, "the field %.60q is in the form twice: in the field %q too", name, choiceField)
			}
			values[name] = texts
		}
	}
	return values, refuseUnknown(values)
}

// fields are the names that an address or a form may have.
var fields = []string{
	"action", "after", "as", "as-of", "by-field", "canary", "choice", "discard", "empty-error", "error", "error-form", "field", "form", "from", "header", "id", "key", "next", "not-error", "not-error-form", "not-field", "not-header", "not-key",
	"not-state", "not-type", "of", "payload", "queue", "rate", "reason", "schedule", "scope", "since", "stage", "state", "type", "until", "window",
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
