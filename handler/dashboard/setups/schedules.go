package setups

import (
	"context"
	"html/template"
	"net/url"
	"slices"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/handler/dashboard/forms"
	"outboxd/handler/dashboard/shell"
	"outboxd/handler/dashboard/show"
)

// ScheduleList lists schedules, and pauses and resumes them.
type ScheduleList interface {
	// List returns all schedules by name. Errors: domain.CodeUnavailable.
	List(ctx context.Context) ([]setup.Schedule, error)

	// Pause stops a schedule, and Resume lets the schedule go on. Both record the action.
	// Errors: domain.CodeNotFound, domain.CodeUnavailable.
	Pause(ctx context.Context, action *domain.Action, name string) error
	Resume(ctx context.Context, action *domain.Action, name string) error
}

type scheduleLine struct {
	setup.Schedule
	State  string // active, paused or failing
	Events template.URL
	Query  template.URL // of the form that pauses or resumes the schedule
}

// schedules serves the page that lists the schedules.
func (p *Pages) schedules(c *fiber.Ctx) error {
	if p.Schedules == nil {
		return shell.NoDatabase()
	}
	list, err := p.Schedules.List(c.UserContext())
	if err != nil {
		return err
	}
	lines := make([]scheduleLine, len(list))
	for i := range list {
		lines[i] = scheduleLine{list[i], list[i].State(), show.TypeQuery(list[i].Event.Type), show.Encoded(url.Values{"schedule": {list[i].Name}})}
	}
	return p.Render(c, shell.Page{Template: "schedules", Title: "Schedules", Section: shell.SectionSchedules, Data: lines})
}

func (p *Pages) scheduleForm(c *fiber.Ctx, f forms.Pause) error {
	if p.Schedules == nil {
		return shell.NoDatabase()
	}
	list, err := p.Schedules.List(c.UserContext())
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(s setup.Schedule) bool { return s.Name == f.Name }) {
		return domain.Errorf(domain.CodeNotFound, "there is no schedule %.100q", f.Name)
	}
	return p.Render(c, shell.Page{Template: "schedule-change", Title: f.Verb() + " " + f.Name, Section: shell.SectionSchedules, Data: &f})
}

// changeSchedule pauses or resumes the schedule, and redirects to the list of schedules.
func (p *Pages) changeSchedule(c *fiber.Ctx, f forms.Pause, action *domain.Action) error {
	if p.Schedules == nil {
		return shell.NoDatabase()
	}
	do := p.Schedules.Pause
	if f.Action == domain.ActionResume {
		do = p.Schedules.Resume
	}
	action.Filter = map[string]string{"schedule": f.Name}
	if err := do(c.UserContext(), action, f.Name); err != nil {
		return err
	}
	return c.Redirect("../schedules", fiber.StatusSeeOther)
}
