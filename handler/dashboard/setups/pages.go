package setups

import (
	"time"

	"outboxd/domain/diagnosis"
	"outboxd/domain/setup"
	"outboxd/handler/dashboard/changes"
	"outboxd/handler/dashboard/shell"
)

// Pages serves the pages about subscriptions and schedules. Its interfaces and its function may be nil.
type Pages struct {
	*shell.Shell
	Changes *changes.Pages

	Subscriptions setup.SubscriptionOverviews
	Schedules     ScheduleList
	Look          func(maxAge time.Duration) diagnosis.Sight // as in dashboard.Sources
}

// Routes adds the pages.
func (p *Pages) Routes(r shell.Router) {
	r.Get("/subscriptions", p.subscriptions)
	r.Get("/subscriptions/:name", p.subscription)
	r.Get("/schedules", p.schedules)
	p.Changes.PauseForm(r, "/schedules/change", "schedule", p.scheduleForm, p.changeSchedule)
}
