package dashboard

import (
	"net/url"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/figures"
	"outboxd/handler/dashboard/show"
)

// queuesPage is the data of the page of all queues.
type queuesPage struct {
	figures.View[figures.Queue]
	StoreKnown, QueuesKnown bool
}

// queuePage is the data of the page of one queue.
type queuePage struct {
	figures.Queue
	At                      time.Time
	StoreKnown, QueuesKnown bool
	Complete                bool
	History                 history
}

// queues serves the page of all queues, or of the one queue that the query
// names.
func (d *Dashboard) queues(c *fiber.Ctx) error {
	if d.o.Sources.Figures == nil {
		return errNoQueue()
	}
	view := d.o.Sources.Figures.All(c.UserContext())
	name := c.Query("queue")
	if name == "" {
		return d.Render(c, Page{Template: "queues", Title: "Queues", Section: SectionQueues, Data: queuesPage{view, view.StoreErr == nil, view.QueuesErr == nil}})
	}
	p := queuePage{Queue: figures.Queue{Name: name}, At: view.At, StoreKnown: view.StoreErr == nil, QueuesKnown: view.QueuesErr == nil, Complete: view.Complete}
	if at := slices.IndexFunc(view.Lines, func(q figures.Queue) bool { return q.Name == name }); at >= 0 {
		p.Queue = view.Lines[at]
	}
	var err error
	if p.History, err = d.historyOfFigures(c, view.StoreErr, "", name); err != nil {
		return err
	}
	return d.Render(c, Page{Template: "queue", Title: "Queue " + name, Section: SectionQueues, Data: &p})
}

// confirmQueue serves the form that asks why the visitor pauses or resumes a queue.
func (d *Dashboard) confirmQueue(c *fiber.Ctx) error {
	f, err := readPauseForm(url.Values{"action": {c.Query("action")}, "queue": {c.Query("queue")}}, "queue")
	if err != nil {
		return err
	}
	return d.queueForm(c, f)
}

func (d *Dashboard) queueForm(c *fiber.Ctx, f pauseForm) error {
	return d.Render(c, Page{Template: "queue-change", Title: f.Verb() + " " + f.Name, Section: SectionQueues, Data: &f})
}

// changeQueue pauses or resumes the queue, and redirects to the queue's page.
func (d *Dashboard) changeQueue(c *fiber.Ctx) error {
	values, err := url.ParseQuery(string(c.Body()))
	if err != nil {
		return domain.Errorf(domain.CodeInvalid, "the form cannot be read")
	}
	f, err := readPauseForm(values, "queue")
	if err != nil {
		return err
	}
	who, err := d.permit(c, f.Action)
	if err != nil {
		return err
	}
	if f.Reason == "" {
		f.Fault = "Say why, for the record."
		c.Status(fiber.StatusUnprocessableEntity)
		return d.queueForm(c, f)
	}
	if d.o.Sources.Pauses == nil {
		return errNoQueue()
	}
	action := &domain.Action{Actor: who, Reason: f.Reason}
	if err := d.o.Sources.Pauses.Change(c.UserContext(), f.Action, action, f.Name); err != nil {
		return err
	}
	return c.Redirect("../queues?"+string(show.QueueQuery(f.Name)), fiber.StatusSeeOther)
}
