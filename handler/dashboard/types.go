package dashboard

import (
	"html/template"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain/figures"
	"outboxd/handler/dashboard/show"
)

// typePage is the data of the page of one event type.
type typePage struct {
	figures.Type
	figures.Seen
	History history
}

// types serves the page of all event types, or of the one type that the query names.
func (d *Dashboard) types(c *fiber.Ctx) error {
	if d.o.Sources.Figures == nil {
		return errNoDatabase()
	}
	view := d.o.Sources.Figures.Types(c.UserContext())
	name := c.Query("type")
	if name == "" {
		return d.Render(c, Page{Template: "types", Title: "Types", Section: SectionTypes, Data: &view})
	}
	p := typePage{Type: figures.Type{Name: name}, Seen: view.Seen}
	if known := view.Named(name); known != nil {
		p.Type = *known
	}
	var err error
	if p.History, err = d.historyOfFigures(c, view.StoreErr, name, ""); err != nil {
		return err
	}
	return d.Render(c, Page{Template: "type", Title: "Type " + name, Section: SectionTypes, Data: &p})
}

// history has the charts of a type or a queue, for one of the spans.
type history struct {
	Window string // the name of the span; "" if the figures are not known
	Query  template.URL
	Points []figures.Point
	Lines  []show.Sparkline
	// OfQueue is true for a queue. Only the points of a queue say how many tasks waited.
	OfQueue bool
}

// historyOfFigures reads the history of a type or a queue, for the span that the query
// asks for. If storeErr is not nil, the history is empty.
func (d *Dashboard) historyOfFigures(c *fiber.Ctx, storeErr error, eventType, queue string) (h history, err error) {
	name, s, err := spanOf(c)
	if err != nil || storeErr != nil {
		return h, err
	}
	h.Window, h.Query, h.OfQueue = name, show.TypeQuery(eventType), eventType == ""
	if eventType == "" {
		h.Query = show.QueueQuery(queue)
	}
	fine, err := d.o.Sources.Figures.Store.History(c.UserContext(), eventType, queue, s.window, max(s.step, time.Minute))
	if err != nil {
		return h, err
	}
	h.Lines = show.Sparklines(fine, s.window, queue != "" && eventType == "")
	h.Points, err = d.o.Sources.Figures.Store.History(c.UserContext(), eventType, queue, s.window, s.line)
	return h, err
}
