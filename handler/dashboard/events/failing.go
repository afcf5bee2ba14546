package events

import (
	"context"
	"html/template"
	"net/url"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/failing"
	"outboxd/domain/lives"
	"outboxd/domain/queued"
	"outboxd/domain/replay"
	"outboxd/handler/dashboard/changes"
	"outboxd/handler/dashboard/forms"
	"outboxd/handler/dashboard/shell"
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
	Query  template.URL // of the address of the form that changes the group
	Events template.URL // of the list of the group's events
}

// failing serves the page of failing tasks, grouped by type, queue and error.
func (p *Pages) failing(c *fiber.Ctx) error {
	if p.Failing == nil {
		return shell.NoRedis()
	}
	ctx, cancel := context.WithTimeout(c.UserContext(), queuePatience)
	defer cancel()
	summary, err := p.Failing.Tasks.Summary(ctx)
	if err != nil {
		return err
	}
	page := failingPage{Tasks: summary.Tasks, Estimated: summary.Estimated}
	for _, g := range summary.Groups {
		fault := forms.ErrorPair(g.ErrorForm)
		page.Groups = append(page.Groups, failingGroup{
			g, show.Encoded(url.Values{"type": {g.Type}, "queue": {g.Queue}, fault.Name: {fault.Value}}),
			show.Encoded(url.Values{"type": {g.Type}, "queue": {g.Queue}, "state": {string(lives.StateFailing)}}),
		})
	}
	return p.Render(c, shell.Page{Template: "failing", Title: "Failing", Section: shell.SectionFailing, Data: page})
}

// confirmFailing asks for a reason, and says how many tasks the change covers.
func (p *Pages) confirmFailing(c *fiber.Ctx) error {
	values, err := forms.Asked(c)
	if err != nil {
		return err
	}
	f, filter, err := forms.ReadFailing(values)
	if err != nil {
		return err
	}
	return p.failingForm(c, f, filter)
}

func (p *Pages) failingForm(c *fiber.Ctx, f forms.Failing, filter failing.Filter) error {
	early, err := p.countFailing(c, &f, filter)
	if err != nil {
		return err
	}
	f.Counting = p.Changes.AsksAgain(c, f.Action, early)
	f.Paused = p.Changes.Paused(c.UserContext(), f.Action, f.Queues)
	return p.Changes.Confirmation(c, shell.Page{Template: "failing-change", Title: f.Verb(), Section: shell.SectionFailing, Data: &f})
}

// countFailing counts the failing events that the filter chooses. The result early is true if the time was not
// enough to count all of them.
func (p *Pages) countFailing(c *fiber.Ctx, f *forms.Failing, filter failing.Filter) (early bool, err error) {
	if p.Failing == nil {
		return false, shell.NoRedis()
	}
	counted, err := p.Failing.Count(c.UserContext(), filter, p.Changes.Patience(c, f.Action))
	f.Limited = counted.More && (f.ID == "" || counted.Matched == 0)
	f.Queues = counted.Queues
	f.Matched, f.More = counted.Matched, f.Limited || counted.Stopped
	return counted.Stopped, err
}

// changeFailing begins the change that the visitor confirmed, and redirects to the page that shows the change's
// progress.
func (p *Pages) changeFailing(c *fiber.Ctx) error {
	values, err := forms.Sent(c)
	if err != nil {
		return err
	}
	f, filter, err := forms.ReadFailing(values)
	if err != nil {
		return err
	}
	who, err := p.Permit(c, f.Action)
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
		return p.failingForm(c, f, filter)
	}
	if _, err = p.countFailing(c, &f, filter); err != nil {
		return err
	}
	form := forms.Change{Action: f.Action, Token: f.Token, DeadCount: domain.DeadCount{Matched: f.Matched, More: f.More, Queues: f.Queues}, Limited: f.Limited}
	action := &domain.Action{Actor: who, Reason: f.Reason, Filter: f.Said()}
	return p.Changes.Begin(c, form, func(ctx context.Context, tell func(replay.Progress)) error {
		if f.Action == domain.ActionGiveUp {
			result, err := p.Failing.GiveUp(ctx, action, filter)
			tell(replay.Progress{Changed: result.Changed})
			return err
		}
		_, err := p.Failing.Retry(ctx, action, filter, replay.Pace{Canary: canary, CanaryTimeout: changes.CanaryPatience}, tell)
		return err
	})
}
