package forms

import (
	"net/url"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
)

// Asked returns the query of a request's address.
func Asked(c *fiber.Ctx) (url.Values, error) {
	values, err := url.ParseQuery(string(c.Request().URI().QueryString()))
	if err != nil {
		return nil, domain.Errorf(domain.CodeInvalid, "the address cannot be read")
	}
	return values, nil
}

// Sent returns the form that a request sends.
func Sent(c *fiber.Ctx) (url.Values, error) {
	values, err := url.ParseQuery(string(c.Body()))
	if err != nil {
		return nil, domain.Errorf(domain.CodeInvalid, "the form cannot be read")
	}
	return values, nil
}
