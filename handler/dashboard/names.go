package dashboard

import (
	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
)

// namesShown is how many names of types or queues a field suggests at most.
const namesShown = 500

// names sends the names of types or queues that a field suggests while a person types: the first
// namesShown of those that the pages Types and Queues list.
func (d *Dashboard) names(c *fiber.Ctx) error {
	if d.o.Sources.Figures == nil {
		return errNoDatabase()
	}
	of := c.Query("of")
	body, err := d.known.Recall(of, func() ([]byte, error) {
		names := []string{}
		switch of {
		case "types":
			view := d.o.Sources.Figures.Types(c.UserContext())
			for i := range view.Lines {
				names = append(names, view.Lines[i].Name)
			}
		case "queues":
			view := d.o.Sources.Figures.All(c.UserContext())
			for i := range view.Lines {
				names = append(names, view.Lines[i].Name)
			}
		default:
			return nil, domain.Errorf(domain.CodeInvalid, "of has to be types or queues")
		}
		return d.write("names", view{Page: Page{Template: "events", Data: names[:min(len(names), namesShown)]}, files: d.files})
	})
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	return c.Send(body)
}
