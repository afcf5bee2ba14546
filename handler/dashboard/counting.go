package dashboard

import (
	"time"

	"github.com/gofiber/fiber/v2"
)

// How long a form that asks for a confirmation counts what it covers. The page counts only
// briefly, so that it opens at once. If that was not enough, the page asks for its template
// "covered" again, and that request counts longer.
const (
	countBriefly = 150 * time.Millisecond
	countLonger  = 10 * time.Second
)

// patience returns how long a request counts what an action covers. Visitors who may not do
// the action do not need the exact number.
func (d *Dashboard) patience(c *fiber.Ctx, action string) time.Duration {
	if c.Get("HX-Request") != "" && d.o.Visitor(c).May(action) {
		return countLonger
	}
	return countBriefly
}

// asksAgain reports whether the page of a form counts a second time, because the first count
// ended early.
func (d *Dashboard) asksAgain(c *fiber.Ctx, action string, early bool) bool {
	return early && c.Get("HX-Request") == "" && d.o.Visitor(c).May(action)
}

// confirmation sends the page of a form, or only the part that says what the form covers.
func (d *Dashboard) confirmation(c *fiber.Ctx, p Page) error {
	if c.Get("HX-Request") != "" {
		return d.fragment(c, "covered", p)
	}
	return d.Render(c, p)
}
