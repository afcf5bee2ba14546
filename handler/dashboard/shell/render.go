package shell

import "github.com/gofiber/fiber/v2"

// policy is the Content-Security-Policy of the pages. A page may load files from this
// server, and images from data: addresses. It may not have scripts or styles in its
// HTML.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Render sends a page.
func (s *Shell) Render(c *fiber.Ctx, p Page) error { return s.execute(c, "layout", p) }

// Fragment sends one template of a page. htmx inserts it into the open page.
func (s *Shell) Fragment(c *fiber.Ctx, name string, p Page) error { return s.execute(c, name, p) }

// Draw renders one template of a page for all visitors alike, without what depends on the visitor. Links are as seen
// from the overview.
func (s *Shell) Draw(name string, p Page) ([]byte, error) {
	return s.templates.Write(name, s.view(p, "/"+s.Place.Base))
}

func (s *Shell) execute(c *fiber.Ctx, name string, p Page) error {
	v := s.view(p, c.Path())
	v.Visitor, v.Here = s.Visitor(c), c.OriginalURL()
	if err := s.markTab(&v); err != nil {
		return err
	}
	if standby := s.sources.Standby; standby != nil && v.Section != "" && name == "layout" {
		if from, ok := standby(c.UserContext()); ok {
			v.Standby = from.String()
		}
	}
	page, err := s.templates.Write(name, v)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentSecurityPolicy, policy)
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	return c.Send(page)
}
