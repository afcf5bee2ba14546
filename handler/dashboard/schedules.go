package dashboard

import (
	"context"
	"html/template"
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/handler/dashboard/show"
)

// ScheduleList lists schedules, and pauses and resumes them.
type ScheduleList interface {
	// List returns all schedules by name. Errors: domain.CodeUnavailable.
	List(ctx context.Context) ([]setup.Schedule, error)

	// Pause stops a schedule, and Resume lets it go on. Both record the action. Errors:
	// domain.CodeNotFound, domain.CodeUnavailable.
	Pause(ctx context.Context, action *domain.Action, name string) error
	Resume(ctx context.Context, action *domain.Action, name string) error
}

type scheduleLine struct {
	setup.Schedule
	State  string // active, paused or failing
	Events template.URL
	Query  template.URL // of the form that pauses or resumes the schedule
}

// schedules lists the recurring events.
func (d *Dashboard) schedules(c *fiber.Ctx) error {
	if d.o.Sources.Schedules == nil {
		return errNoDatabase()
	}
	list, err := d.o.Sources.Schedules.List(c.UserContext())
	if err != nil {
		return err
	}
	lines := make([]scheduleLine, len(list))
	for i := range list {
		lines[i] = scheduleLine{list[i], list[i].State(), show.TypeQuery(list[i].Event.Type), show.Encoded(url.Values{"schedule": {list[i].Name}})}
	}
	return d.Render(c, Page{Template: "schedules", Title: "Schedules", Section: SectionSchedules, Data: lines})
}

// scheduleForm is a command to pause or resume a schedule that the visitor has not
// confirmed yet.
type scheduleForm struct{ Action, Schedule, Fault, Reason string }

// Verb is what the form's button does.
func (f *scheduleForm) Verb() string {
	if f.Action == domain.ActionResume {
		return "Resume"
	}
	return "Pause"
}

func readScheduleForm(values url.Values) (f scheduleForm, err error) {
	f = scheduleForm{
		Action: values.Get("action"), Schedule: values.Get("schedule"), Reason: strings.TrimSpace(values.Get("reason")),
	}
	switch {
	case f.Action != domain.ActionPause && f.Action != domain.ActionResume:
		return f, domain.Errorf(domain.CodeInvalid, "schedules are paused or resumed")
	case f.Schedule == "":
		return f, domain.Errorf(domain.CodeInvalid, "choose a schedule first")
	case len(f.Reason) > maxReason:
		return f, domain.Errorf(domain.CodeInvalid, "that is too much for one form: be brief about the reason")
	}
	return f, nil
}

// confirmSchedule asks for a reason.
func (d *Dashboard) confirmSchedule(c *fiber.Ctx) error {
	f, err := readScheduleForm(url.Values{"action": {c.Query("action")}, "schedule": {c.Query("schedule")}})
	if err != nil {
		return err
	}
	return d.scheduleForm(c, f)
}

func (d *Dashboard) scheduleForm(c *fiber.Ctx, f scheduleForm) error {
	if d.o.Sources.Schedules == nil {
		return errNoDatabase()
	}
	list, err := d.o.Sources.Schedules.List(c.UserContext())
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(s setup.Schedule) bool { return s.Name == f.Schedule }) {
		return domain.Errorf(domain.CodeNotFound, "there is no schedule %.100q", f.Schedule)
	}
	return d.Render(c, Page{Template: "schedule-change", Title: f.Verb() + " " + f.Schedule, Section: SectionSchedules, Data: &f})
}

// changeSchedule pauses or resumes the schedule, and redirects to the list.
func (d *Dashboard) changeSchedule(c *fiber.Ctx) error {
	values, err := url.ParseQuery(string(c.Body()))
	if err != nil {
		return domain.Errorf(domain.CodeInvalid, "the form cannot be read")
	}
	f, err := readScheduleForm(values)
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
		return d.scheduleForm(c, f)
	}
	if d.o.Sources.Schedules == nil {
		return errNoDatabase()
	}
	do := d.o.Sources.Schedules.Pause
	if f.Action == domain.ActionResume {
		do = d.o.Sources.Schedules.Resume
	}
	action := &domain.Action{Actor: who, Reason: f.Reason, Filter: map[string]string{"schedule": f.Schedule}}
	if err := do(c.UserContext(), action, f.Schedule); err != nil {
		return err
	}
	return c.Redirect("../schedules", fiber.StatusSeeOther)
}
