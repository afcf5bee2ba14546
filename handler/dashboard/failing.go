package dashboard

import (
	"context"
	"html/template"
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/failing"
	"outboxd/domain/lives"
	"outboxd/domain/queued"
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
			g, show.Encoded(url.Values{"type": {g.Type}, "queue": {g.Queue}, "error": {g.ErrorForm}}),
			show.Encoded(url.Values{"type": {g.Type}, "queue": {g.Queue}, "state": {string(lives.StateFailing)}}),
		})
	}
	return d.Render(c, Page{Template: "failing", Title: "Failing", Section: SectionFailing, Data: p})
}

func errNoQueue() error {
	return domain.Errorf(domain.CodeUnavailable, "this process has no Redis to look into")
}

// failingForm is a change of failing tasks (retry or give up) that the visitor has
// not confirmed yet.
type failingForm struct {
	Action, Type, Queue, Error, ID string
	Matched                        int64
	More                           bool
	Fault, Reason                  string
}

// Verb returns the caption of the form's button.
func (f *failingForm) Verb() string {
	if f.Action == domain.ActionRetry {
		return "Retry now"
	}
	return "Give up"
}

// readFailing reads which failing tasks the form chooses. readFailing refuses a
// form that chooses all of them.
func readFailing(values url.Values) (f failingForm, filter failing.Filter, err error) {
	f = failingForm{
		Action: values.Get("action"), Type: values.Get("type"), Queue: values.Get("queue"), Error: values.Get("error"), ID: values.Get("id"),
		Reason: strings.TrimSpace(values.Get("reason")),
	}
	filter = failing.Filter{Type: f.Type, Queue: f.Queue, ErrorForm: f.Error}
	switch {
	case f.Action != domain.ActionRetry && f.Action != domain.ActionGiveUp:
		return f, filter, domain.Errorf(domain.CodeInvalid, "failing events are retried or given up")
	case len(f.Reason) > maxReason:
		return f, filter, domain.Errorf(domain.CodeInvalid, "that is too much for one form: be brief about the reason")
	case f.ID == "" && !filter.Narrows():
		return f, filter, domain.Errorf(domain.CodeInvalid, "choose a group or an event first")
	case f.ID != "":
		id, err := domain.EventID(f.ID)
		filter.IDs = []domain.ID{id}
		return f, filter, err
	}
	return f, filter, nil
}

// confirmFailing asks for a reason, and says how many tasks the change covers.
func (d *Dashboard) confirmFailing(c *fiber.Ctx) error {
	values, err := url.ParseQuery(string(c.Request().URI().QueryString()))
	if err != nil {
		return domain.Errorf(domain.CodeInvalid, "the address cannot be read")
	}
	f, filter, err := readFailing(values)
	if err != nil {
		return err
	}
	return d.failingForm(c, f, filter)
}

func (d *Dashboard) failingForm(c *fiber.Ctx, f failingForm, filter failing.Filter) error {
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
	values, err := url.ParseQuery(string(c.Body()))
	if err != nil {
		return domain.Errorf(domain.CodeInvalid, "the form cannot be read")
	}
	f, filter, err := readFailing(values)
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
	action := &domain.Action{Actor: who, Reason: f.Reason, Filter: map[string]string{}}
	for name, value := range map[string]string{"type": f.Type, "queue": f.Queue, "error-form": f.Error, "ids": f.ID} {
		if value != "" {
			action.Filter[name] = value
		}
	}
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
	Form   *failingForm
	Result failing.Result
}
