package figures

import (
	"html/template"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain/figures"
	"outboxd/handler/dashboard/shell"
	"outboxd/handler/dashboard/show"
)

// figurePages serves the page of all lines of a view, or the page of the single line that the query names. The parameter
// page has the template of the single line's page: "type" or "queue". The query's field has the same name, and the
// template of the page of all lines has its plural. The function dataOf returns the data of a single line's page; its
// parameter line is nil if nothing is known of the name.
func figurePages[L figures.Line](p *Pages, c *fiber.Ctx, view *figures.View[L], page shell.Page, dataOf func(name string, line *L, h history) any) error {
	name := c.Query(page.Template)
	if name == "" {
		page.Template, page.Title, page.Data = page.Template+"s", page.Title+"s", view
		return p.Render(c, page)
	}
	h := history{Unseen: view.Unseen(name)}
	if err := p.readHistory(c, &h, view.StoreErr, page.Template, name); err != nil {
		return err
	}
	page.Title, page.Data = page.Title+" "+name, dataOf(name, view.Named(name), h)
	return p.Render(c, page)
}

// history has the charts of a type or a queue, for one of the spans.
type history struct {
	Window string // the name of the span; "" if the figures are not known
	Query  template.URL
	Points []figures.Point
	Lines  []show.Sparkline
	// OfQueue is true for a queue. Only the points of a queue say how many tasks waited.
	OfQueue bool
	Unseen  bool // as in figures.Sum
}

// readHistory reads the history of a type or a queue, for the span that the query asks for, into h. If storeErr is not
// nil, the history is empty.
func (p *Pages) readHistory(c *fiber.Ctx, h *history, storeErr error, noun, name string) error {
	window, s, err := spanOf(c)
	if err != nil || storeErr != nil {
		return err
	}
	eventType, queue := name, ""
	h.Window, h.Query, h.OfQueue = window, show.TypeQuery(name), noun == "queue"
	if h.OfQueue {
		eventType, queue, h.Query = "", name, show.QueueQuery(name)
	}
	fine, err := p.Figures.Store.History(c.UserContext(), eventType, queue, s.window, max(s.step, time.Minute))
	if err != nil {
		return err
	}
	h.Lines = show.Sparklines(fine, s.window, h.OfQueue, h.Unseen)
	h.Points, err = p.Figures.Store.History(c.UserContext(), eventType, queue, s.window, s.line)
	return err
}
