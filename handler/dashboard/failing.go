package dashboard

import (
	"context"
	"html/template"
	"net/url"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/failing"
	"outboxd/domain/lives"
	"outboxd/domain/queued"
	"outboxd/domain/replay"
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
	early, err := d.countFailing(c, &f, filter)
	if err != nil {
		return err
	}
	f.Counting = d.asksAgain(c, f.Action, early)
	f.Paused = d.paused(c.UserContext(), f.Action, f.Queues)
	return d.confirmation(c, Page{Template: "failing-change", Title: f.Verb(), Section: SectionFailing, Data: &f})
}

// countFailing counts the failing events that the filter chooses. The result early is true if the time was not
// enough to count all of them.
func (d *Dashboard) countFailing(c *fiber.Ctx, f *forms.Failing, filter failing.Filter) (early bool, err error) {
	if d.o.Sources.Failing == nil {
		return false, errNoQueue()
	}
	counted, err := d.o.Sources.Failing.Count(c.UserContext(), filter, d.patience(c, f.Action))
	f.Limited = counted.More && (f.ID == "" || counted.Matched == 0)
	f.Queues = counted.Queues
	f.Matched, f.More = counted.Matched, f.Limited || counted.Stopped
	return counted.Stopped, err
}

// changeFailing begins the change that the visitor confirmed, and redirects to the page that shows the change's
// progress.
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
	canary, fault := forms.ReadCanary(f.Canary)
	if f.Reason == "" {
		fault = "Say why, for the record."
	}
	if fault != "" {
		f.Fault = fault
		c.Status(fiber.StatusUnprocessableEntity)
		return d.failingForm(c, f, filter)
	}
	if _, err = d.countFailing(c, &f, filter); err != nil {
		return err
	}
	form := forms.Change{Action: f.Action, DeadCount: domain.DeadCount{Matched: f.Matched, More: f.More, Queues: f.Queues}, Limited: f.Limited}
	action := &domain.Action{Actor: who, Reason: f.Reason, Filter: f.Said()}
	id, err := d.beginChange(form, func(ctx context.Context, tell func(replay.Progress)) error {
		if f.Action == domain.ActionGiveUp {
			result, err := d.o.Sources.Failing.GiveUp(ctx, action, filter)
			tell(replay.Progress{Changed: result.Changed})
			return err
		}
		_, err := d.o.Sources.Failing.Retry(ctx, action, filter, replay.Pace{Canary: canary, CanaryTimeout: canaryPatience}, tell)
		return err
	})
	if err != nil {
		return err
	}
	return c.Redirect("../changes/"+strconv.Itoa(id), fiber.StatusSeeOther)
}
