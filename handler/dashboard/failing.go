package dashboard

import (
	"context"
	"html/template"
	"net/url"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/failing"
	"outboxd/domain/lives"
	"outboxd/domain/queued"
	"outboxd/handler/dashboard/forms"
	"outboxd/handler/dashboard/show"
)

// failingPage has the groups of failing tasks.
type failingPage struct {
	Groups    []failingGroup
	Tasks     int64
	Estimated bool
}

type failingGroup struct {
	queued.FailingGroup
	Query  template.URL // of the address that changes the group
	Events template.URL // of the list of the group's events
}

// failing serves the page of failing tasks, grouped by type, queue and error.
func (d *Dashboard) failing(c *fiber.Ctx) error {
	if d.o.Sources.Failing == nil {
		return errNoQueue()
	}
	ctx, cancel := context.WithTimeout(c.UserContext(), queuePatience)
	defer cancel()
	summary, err := d.o.Sources.Failing.Tasks.Summary(ctx)
	if err != nil {
		return err
	}
	p := failingPage{Tasks: summary.Tasks, Estimated: summary.Estimated}
	for _, g := range summary.Groups {
		p.Groups = append(p.Groups, failingGroup{
			g, show.Encoded(url.Values{"type": {g.Type}, "queue": {g.Queue}, "error-form": {g.ErrorForm}}),
			show.Encoded(url.Values{"type": {g.Type}, "queue": {g.Queue}, "state": {string(lives.StateFailing)}}),
		})
	}
	return d.Render(c, Page{Template: "failing", Title: "Failing", Section: SectionFailing, Data: p})
}

func errNoQueue() error {
	return domain.Errorf(domain.CodeUnavailable, "this process has no Redis to look into")
}

// confirmFailing asks for a reason, and says how many tasks the change covers.
func (d *Dashboard) confirmFailing(c *fiber.Ctx) error {
	values, err := forms.Asked(c)
	if err != nil {
		return err
	}
	f, filter, err := forms.ReadFailing(values)
	if err != nil {
		return err
	}
	return d.failingForm(c, f, filter)
}

func (d *Dashboard) failingForm(c *fiber.Ctx, f forms.Failing, filter failing.Filter) error {
	if d.o.Sources.Failing == nil {
		return errNoQueue()
	}
	ctx, cancel := context.WithTimeout(c.UserContext(), countPatience)
	defer cancel()
	counted, err := d.o.Sources.Failing.Count(ctx, filter)
	if err != nil {
		return err
	}
	f.Matched, f.More = counted.Matched, counted.More
	return d.Render(c, Page{Template: "failing-change", Title: f.Verb(), Section: SectionFailing, Data: &f})
}

// changeFailing carries out the change that the visitor confirmed. The page that
// follows says how many tasks were changed.
func (d *Dashboard) changeFailing(c *fiber.Ctx) error {
	values, err := forms.Sent(c)
	if err != nil {
		return err
	}
	f, filter, err := forms.ReadFailing(values)
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
		return d.failingForm(c, f, filter)
	}
	if d.o.Sources.Failing == nil {
		return errNoQueue()
	}
	action := &domain.Action{Actor: who, Reason: f.Reason, Filter: f.Said()}
	do := d.o.Sources.Failing.Retry
	if f.Action == domain.ActionGiveUp {
		do = d.o.Sources.Failing.GiveUp
	}
	result, err := do(c.UserContext(), action, filter)
	if err != nil {
		return err
	}
	return d.Render(c, Page{Template: "failing-done", Title: f.Verb(), Section: SectionFailing, Data: failingDone{&f, result}})
}

// failingDone is the result of a change of failing tasks.
type failingDone struct {
	Form   *forms.Failing
	Result failing.Result
}
