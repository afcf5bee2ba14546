package dashboard

import (
	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/figures"
	"outboxd/handler/dashboard/forms"
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
func (d *Dashboard) queues(c *fiber.Ctx) error {
	if d.o.Sources.Figures == nil {
		return errNoQueue()
	}
	view := d.o.Sources.Figures.All(c.UserContext())
	return figurePages(d, c, &view, Page{Template: "queue", Title: "Queue", Section: SectionQueues}, func(name string, known *figures.Queue, h history) any {
		p := &queuePage{figures.Queue{Name: name}, view.Seen, h}
		if known != nil {
			p.Queue = *known
		}
		return p
	})
}

func (d *Dashboard) queueForm(c *fiber.Ctx, f forms.Pause) error {
	return d.Render(c, Page{Template: "queue-change", Title: f.Verb() + " " + f.Name, Section: SectionQueues, Data: &f})
}

// changeQueue pauses or resumes the queue, and redirects to the queue's page.
func (d *Dashboard) changeQueue(c *fiber.Ctx, f forms.Pause, action *domain.Action) error {
	if d.o.Sources.Pauses == nil {
		return errNoQueue()
	}
	if err := d.o.Sources.Pauses.Change(c.UserContext(), f.Action, action, f.Name); err != nil {
		return err
	}
	return c.Redirect("../queues?"+string(show.QueueQuery(f.Name)), fiber.StatusSeeOther)
}
