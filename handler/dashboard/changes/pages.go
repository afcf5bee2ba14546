package changes

import (
	"context"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/figures"
	"outboxd/domain/replay"
	"outboxd/handler/dashboard/forms"
	"outboxd/handler/dashboard/shell"
)

// CanaryPatience is how long a replay or a retry waits for its canary.
const CanaryPatience = 5 * time.Minute

// Pages serves the pages that show what people change. Its methods are safe for concurrent use.
type Pages struct {
	*shell.Shell
	Letters domain.DeadLetters // has the record of actions; may be nil
	Pauses  *figures.Pauses    // may be nil

	begun *list
}

// New returns Pages without data.
func New(s *shell.Shell) *Pages {
	return &Pages{Shell: s, begun: newList(s.Lasting, s.Wrote, s.Logger)}
}

// Routes adds the pages.
func (p *Pages) Routes(r shell.Router) {
	r.Get("/actions", p.actions)
	r.Get("/changes/:id", p.progress)
}

// Begin calls the function work in the background, and redirects to the page that shows the progress. A form that is
// sent twice leads to the page of the same change.
//
// Errors: domain.CodeConflict if too many changes run already, or after the end of the Shell.
func (p *Pages) Begin(c *fiber.Ctx, form forms.Change, work func(ctx context.Context, tell func(replay.Progress)) error) error {
	id, err := p.begun.begin(form, work)
	if err != nil {
		return err
	}
	return c.Redirect("../changes/"+strconv.Itoa(id), fiber.StatusSeeOther)
}

// Close ends what outlasts its request, and waits for the end of the running changes. The batch that a change is
// working on in the database is rolled back, unless it is being committed. Tasks that
// Redis has already retried or archived stay so.
func (p *Pages) Close() {
	p.End()
	p.begun.running.Wait()
}

// progress shows the progress of a change.
func (p *Pages) progress(c *fiber.Ctx) error {
	id, _ := strconv.Atoi(c.Params("id"))
	change, known := p.begun.find(id)
	if !known {
		return domain.Errorf(domain.CodeNotFound, "this process knows nothing of that change; the record of actions may")
	}
	change.Form.Paused = p.Paused(c.UserContext(), change.Form.Action, change.Form.Queues)
	words := change.Words()
	page := shell.Page{Template: "changing", Title: words.Title, Section: shell.Section(words.Path), Data: change}
	if c.Get("HX-Request") != "" {
		return p.Fragment(c, "progress", page)
	}
	return p.Render(c, page)
}
