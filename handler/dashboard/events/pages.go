package events

import (
	"time"

	"outboxd/domain"
	"outboxd/domain/access"
	"outboxd/domain/failing"
	"outboxd/domain/lives"
	"outboxd/domain/queued"
	"outboxd/handler/dashboard/changes"
	"outboxd/handler/dashboard/shell"
)

// queuePatience is how long a page waits for an answer of Redis. Without an answer, the
// page of an event shows only what PostgreSQL knows.
const queuePatience = 3 * time.Second

// Pages serves the pages about events. Its interfaces and Failing may be nil; dashboard.Sources says what they are.
type Pages struct {
	*shell.Shell
	Changes *changes.Pages

	Lives, Current lives.Reader
	Tasks          queued.TaskStates
	Keys           HeldKeys
	Failing        *failing.Change
	Cancellations  domain.EventChanges
	Corrections    domain.Corrections
	PayloadLimit   int
	TraceURL       string
}

// Routes adds the pages.
func (p *Pages) Routes(r shell.Router) {
	r.Get("/events", p.events)
	r.Get("/events/export", p.export)
	r.Get("/events/cancel", p.confirmCancel)
	r.Post("/events/cancel", p.startCancel, access.Cancel)
	r.Get("/events/:id", p.event)
	r.Get("/events/:id/correct", p.correct)
	r.Post("/events/:id/correct", p.emitCorrected, access.Correct)
	r.Get("/failing", p.failing)
	r.Get("/failing/change", p.confirmFailing)
	r.Post("/failing/change", p.changeFailing, domain.ActionRetry, domain.ActionGiveUp)
	r.Get("/keys", p.keys)
}
