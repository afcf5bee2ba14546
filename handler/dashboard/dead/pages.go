package dead

import (
	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/handler/dashboard/changes"
	"outboxd/handler/dashboard/shell"
)

// Pages serves the pages about dead letters.
type Pages struct {
	*shell.Shell
	Changes     *changes.Pages
	Letters     domain.DeadLetters // may be nil
	Unconfirmed []string           // the event types whose consumers do not confirm events
}

// Routes adds the pages.
func (p *Pages) Routes(r shell.Router) {
	r.Get("/dead", p.dead)
	r.Get("/dead/group", p.deadGroup)
	r.Get("/dead/fields", p.deadFields)
	r.Get("/dead/export", p.export)
	r.Get("/dead/change", p.confirmChange)
	r.Post("/dead/change", p.startChange, access.Replay, access.Discard)
}
