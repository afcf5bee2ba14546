package shell

import (
	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/handler/dashboard/show"
)

// Fault is what a visitor may see of an error.
type Fault struct {
	Status    int
	Title     string // the status in words
	Detail    string
	RequestID string
}

// Explain answers the errors of later handlers: with a page for browsers, and with a
// problem document for other clients.
func (s *Shell) Explain(c *fiber.Ctx) error { return s.answer(c, c.Next()) }

// Missing answers a request that matches no route. Add it after all routes.
func (s *Shell) Missing(c *fiber.Ctx) error { return s.answer(c, c.Next()) }

func (s *Shell) answer(c *fiber.Ctx, err error) error {
	if err == nil || c.Accepts(fiber.MIMEApplicationJSON, fiber.MIMETextHTML) != fiber.MIMETextHTML {
		return err
	}
	fault := s.Options.Explain(c, err)
	c.Status(fault.Status)
	fault.Detail = show.Capital(fault.Detail)
	p := Page{Template: "fault", Title: fault.Title, Data: fault}
	if s.Visitor(c).May(access.See) {
		p.Section = s.Place.sectionOf(c.Path())
	}
	if c.Get("HX-Request") != "" {
		return s.Fragment(c, "content", p)
	}
	return s.Render(c, p)
}

// NoDatabase is the error of a page whose data is in PostgreSQL, if this process has none.
func NoDatabase() error {
	return domain.Errorf(domain.CodeUnavailable, "this process has no database to look into")
}

// NoRedis is the error of a page whose data is in Redis, if this process has none.
func NoRedis() error {
	return domain.Errorf(domain.CodeUnavailable, "this process has no Redis to look into")
}
