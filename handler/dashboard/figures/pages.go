package figures

import (
	"outboxd/domain/figures"
	"outboxd/domain/overview"
	"outboxd/handler/dashboard/changes"
	"outboxd/handler/dashboard/live"
	"outboxd/handler/dashboard/shell"
)

// Pages serves the pages of figures. Overviews, Figures and Pauses may be nil.
type Pages struct {
	*shell.Shell
	Changes *changes.Pages

	Overviews overview.Overviews // for the charts of the overview
	Figures   *figures.Source
	Pauses    *figures.Pauses

	charts live.Memory
	known  live.Memory // names of types and queues
}

// Routes adds the pages.
func (p *Pages) Routes(r shell.Router) {
	r.Get("/history", p.history)
	r.Get("/history/table", p.historyTable)
	r.Get("/types", p.types)
	r.Get("/queues", p.queues)
	p.Changes.PauseForm(r, "/queues/change", "queue", p.queueForm, p.changeQueue)
	r.Get("/workers", p.workers)
	r.Get("/names", p.names)
}
