package dashboard

import (
	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
)

// allActionsShown is how many actions the page lists at most.
const allActionsShown = 200

// actions serves the page that lists the recorded actions of people.
func (d *Dashboard) actions(c *fiber.Ctx) error {
	if d.o.Sources.Dead == nil {
		return errNoDatabase()
	}
	list, err := d.o.Sources.Dead.Actions(c.UserContext(), allActionsShown)
	if err != nil {
		return err
	}
	return d.Render(c, Page{Template: "actions", Title: "Actions", Section: SectionActions, Data: actionsPage{list, len(list) == allActionsShown}})
}

type actionsPage struct {
	Actions []domain.RecordedAction
	More    bool
}
