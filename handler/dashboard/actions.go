package dashboard

import (
	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
)

// allActionsShown is how many actions a page lists at most.
const allActionsShown = 100

// actions serves a page of the recorded actions of people.
func (d *Dashboard) actions(c *fiber.Ctx) error {
	if d.o.Sources.Dead == nil {
		return errNoDatabase()
	}
	p := actionsPage{First: c.Query("after") == ""}
	var after domain.ID
	var err error
	if !p.First {
		if after, err = domain.ParseID(c.Query("after")); err != nil {
			return err
		}
	}
	if p.Actions, err = d.o.Sources.Dead.Actions(c.UserContext(), after, allActionsShown); err != nil {
		return err
	}
	if len(p.Actions) == allActionsShown {
		p.Next = p.Actions[allActionsShown-1].ID.String()
	}
	return d.Render(c, Page{Template: "actions", Title: "Actions", Section: SectionActions, Data: p})
}

type actionsPage struct {
	Actions []domain.RecordedAction
	First   bool   // whether this is the first page
	Next    string // the last action of the page, after which the next page begins; "" if this page is not full
}
