package figures

import (
	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/figures"
	"outboxd/handler/dashboard/forms"
	"outboxd/handler/dashboard/shell"
	"outboxd/handler/dashboard/show"
)

// queuePage is the data of the page of one queue.
type queuePage struct {
	figures.Queue
	figures.Seen
	History history
}

// queues serves the page of all queues, or of the one queue that the query
// names.
func (p *Pages) queues(c *fiber.Ctx) error {
	if p.Figures == nil {
		return shell.NoRedis()
	}
	view := p.Figures.All(c.UserContext())
	return figurePages(p, c, &view, shell.Page{Template: "queue", Title: "Queue", Section: shell.SectionQueues}, func(name string, known *figures.Queue, h history) any {
		page := &queuePage{figures.Queue{Name: name}, view.Seen, h}
		if known != nil {
			page.Queue = *known
		}
		return page
	})
}

func (p *Pages) queueForm(c *fiber.Ctx, f forms.Pause) error {
	return p.Render(c, shell.Page{Template: "queue-change", Title: f.Verb() + " " + f.Name, Section: shell.SectionQueues, Data: &f})
}

// changeQueue pauses or resumes the queue, and redirects to the queue's page.
func (p *Pages) changeQueue(c *fiber.Ctx, f forms.Pause, action *domain.Action) error {
	if p.Pauses == nil {
		return shell.NoRedis()
	}
	if err := p.Pauses.Change(c.UserContext(), f.Action, action, f.Name); err != nil {
		return err
	}
	return c.Redirect("../queues?"+string(show.QueueQuery(f.Name)), fiber.StatusSeeOther)
}
