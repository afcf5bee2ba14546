package figures

import (
	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/handler/dashboard/shell"
)

// namesShown is how many names of types or queues a field suggests at most.
const namesShown = 500

// names sends the names of types or queues that a field suggests while a person types: the first
// namesShown of those that the pages Types and Queues list.
func (p *Pages) names(c *fiber.Ctx) error {
	if p.Figures == nil {
		return shell.NoDatabase()
	}
	of := c.Query("of")
	body, err := p.known.Recall(of, func() ([]byte, error) {
		names := []string{}
		switch of {
		case "types":
			view := p.Figures.Types(c.UserContext())
			for i := range view.Lines {
				names = append(names, view.Lines[i].Name)
			}
		case "queues":
			view := p.Figures.All(c.UserContext())
			for i := range view.Lines {
				names = append(names, view.Lines[i].Name)
			}
		default:
			return nil, domain.Errorf(domain.CodeInvalid, "of has to be types or queues")
		}
		return p.Draw("names", shell.Page{Template: "events", Data: names[:min(len(names), namesShown)]})
	})
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	return c.Send(body)
}
