package changes

import (
	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/handler/dashboard/shell"
)

// allActionsShown is how many actions a page lists at most.
const allActionsShown = 100

// actions serves a page of the recorded actions of people.
func (p *Pages) actions(c *fiber.Ctx) error {
	if p.Letters == nil {
		return shell.NoDatabase()
	}
	page := actionsPage{First: c.Query("after") == ""}
	var after domain.ID
	var err error
	if !page.First {
		if after, err = domain.ParseID(c.Query("after")); err != nil {
			return err
		}
	}
	if page.Actions, err = p.Letters.Actions(c.UserContext(), after, allActionsShown); err != nil {
		return err
	}
	if len(page.Actions) == allActionsShown {
		page.Next = page.Actions[allActionsShown-1].ID.String()
	}
	return p.Render(c, shell.Page{Template: "actions", Title: "Actions", Section: shell.SectionActions, Data: page})
}

type actionsPage struct {
	Actions []domain.RecordedAction
	First   bool   // whether this is the first page
	Next    string // the last action of the page, after which the next page begins; "" if this page is not full
}
