package dashboard

import "github.com/gofiber/fiber/v2"

func (d *Dashboard) overview(c *fiber.Ctx) error {
	return d.Render(c, Page{Template: "overview", Title: "Overview", Section: SectionOverview, Data: d.o.Readiness()})
}
