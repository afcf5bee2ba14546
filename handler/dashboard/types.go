package dashboard

import (
	"github.com/gofiber/fiber/v2"

	"outboxd/domain/figures"
)

// typePage is the data of the page of one event type.
type typePage struct {
	figures.Type
	figures.Seen
	History history
}

// types serves the page of all event types, or of the one type that the query names.
func (d *Dashboard) types(c *fiber.Ctx) error {
	if d.o.Sources.Figures == nil {
		return errNoDatabase()
	}
	view := d.o.Sources.Figures.Types(c.UserContext())
	return figurePages(d, c, &view, Page{Template: "type", Title: "Type", Section: SectionTypes}, func(name string, known *figures.Type, h history) any {
		p := &typePage{figures.Type{Name: name}, view.Seen, h}
		if known != nil {
			p.Type = *known
		}
		return p
	})
}
