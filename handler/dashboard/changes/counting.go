package changes

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/handler/dashboard/shell"
)

// How long a form that asks for a confirmation counts what it covers. The page counts only
// briefly, so that it opens at once. If that was not enough, the page asks for its template
// "covered" again, and that request counts longer.
const (
	CountBriefly = 150 * time.Millisecond
	CountLonger  = 10 * time.Second
)

// Patience returns how long a request counts what an action covers. Visitors who may not do
// the action do not need the exact number.
func (p *Pages) Patience(c *fiber.Ctx, action string) time.Duration {
	if c.Get("HX-Request") != "" && p.Visitor(c).May(action) {
		return CountLonger
	}
	return CountBriefly
}

// AsksAgain reports whether the page of a form counts a second time, because the first count
// ended early.
func (p *Pages) AsksAgain(c *fiber.Ctx, action string, early bool) bool {
	return early && c.Get("HX-Request") == "" && p.Visitor(c).May(action)
}

// Confirmation sends the page of a form, or only the part that says what the form covers.
func (p *Pages) Confirmation(c *fiber.Ctx, page shell.Page) error {
	if c.Get("HX-Request") != "" {
		return p.Fragment(c, "covered", page)
	}
	return p.Render(c, page)
}
