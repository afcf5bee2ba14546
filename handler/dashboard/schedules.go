package dashboard

import (
	"context"
	"html/template"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain/setup"
	"outboxd/handler/dashboard/show"
)

// ScheduleList lists schedules.
type ScheduleList interface {
	// List returns all schedules by name. Errors: domain.CodeUnavailable.
	List(ctx context.Context) ([]setup.Schedule, error)
}

type scheduleLine struct {
	setup.Schedule
	State  string // active, paused or failing
	Events template.URL
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
		lines[i] = scheduleLine{list[i], list[i].State(), show.TypeQuery(list[i].Event.Type)}
	}
	return d.Render(c, Page{Template: "schedules", Title: "Schedules", Section: SectionSchedules, Data: lines})
}
