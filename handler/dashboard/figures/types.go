package figures

import (
	"github.com/gofiber/fiber/v2"

	"outboxd/domain/figures"
	"outboxd/handler/dashboard/shell"
)

// typePage is the data of the page of one event type.
type typePage struct {
	figures.Type
	figures.Seen
	History history
}

// types serves the page of all event types, or of the one type that the query names.
func (p *Pages) types(c *fiber.Ctx) error {
	if p.Figures == nil {
		return shell.NoDatabase()
	}
	view := p.Figures.Types(c.UserContext())
	return figurePages(p, c, &view, shell.Page{Template: "type", Title: "Type", Section: shell.SectionTypes}, func(name string, known *figures.Type, h history) any {
		page := &typePage{figures.Type{Name: name}, view.Seen, h}
		if known != nil {
			page.Type = *known
		}
		return page
	})
}
