package dashboard

import (
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain/figures"
)

// typesPage lists event types.
type typesPage struct {
	figures.View[figures.Type]
	StoreKnown, QueuesKnown bool
}

// typePage is one event type.
type typePage struct {
	figures.Type
	At                      time.Time
	StoreKnown, QueuesKnown bool
	Complete                bool
	History                 history
}

// types serves the page of all event types, or of the one type that the query names.
func (d *Dashboard) types(c *fiber.Ctx) error {
	if d.o.Sources.Figures == nil {
		return errNoDatabase()
	}
	view := d.o.Sources.Figures.Types(c.UserContext())
	name := c.Query("type")
	if name == "" {
		return d.Render(c, Page{Template: "types", Title: "Types", Section: SectionTypes, Data: typesPage{view, view.StoreErr == nil, view.QueuesErr == nil}})
	}
	p := typePage{Type: figures.Type{Name: name}, At: view.At, StoreKnown: view.StoreErr == nil, QueuesKnown: view.QueuesErr == nil, Complete: view.Complete}
	if at := slices.IndexFunc(view.Lines, func(t figures.Type) bool { return t.Name == name }); at >= 0 {
		p.Type = view.Lines[at]
	}
	var err error
	if p.History, err = d.historyOfFigures(c, view.StoreErr, name, ""); err != nil {
		return err
	}
	return d.Render(c, Page{Template: "type", Title: "Type " + name, Section: SectionTypes, Data: &p})
}

// history has the charts of a type or a queue, for the last hour or day.
type history struct {
	Window string // hour or day; "": nothing is known
	Query  template.URL
	Points []figures.Point
	Lines  []sparkline
}

// historyOfFigures reads the window that the query asks for. Without the database there
// is none.
func (d *Dashboard) historyOfFigures(c *fiber.Ctx, storeErr error, eventType, queue string) (h history, err error) {
	name, s, err := spanOf(c)
	if err != nil || storeErr != nil {
		return h, err
	}
	h.Window, h.Query = name, typeQuery(eventType)
	if eventType == "" {
		h.Query = queueQuery(queue)
	}
	fine, err := d.o.Sources.Figures.Store.History(c.UserContext(), eventType, queue, s.window, max(s.step, time.Minute))
	if err != nil {
		return h, err
	}
	h.Lines = sparklines(fine, s.window, queue != "" && eventType == "")
	h.Points, err = d.o.Sources.Figures.Store.History(c.UserContext(), eventType, queue, s.window, s.line)
	return h, err
}

// sparkline is a small chart without axes.
type sparkline struct {
	Name, Unit string
	Points     string // of an SVG polyline, 300 wide and 48 high
	Most       float64
	Seconds    bool // whether Most is a time
}

const (
	sparkWidth  = 300
	sparkHeight = 48
)

// sparklines draws the rate, the delay and, for a queue, what waited in Redis.
func sparklines(points []figures.Point, window time.Duration, queue bool) []sparkline {
	lines := []sparkline{
		sparklineOf("Confirmed", "a second", points, window, func(p *figures.Point) float64 {
			if p.Seconds <= 0 {
				return -1
			}
			return float64(p.Confirmed) / p.Seconds
		}),
		sparklineOf("Delay, 99 %", "", points, window, func(p *figures.Point) float64 { return p.P99.Seconds() }),
		sparklineOf("Failed attempts", "a step", points, window, func(p *figures.Point) float64 { return float64(p.Failed) }),
	}
	lines[1].Seconds = true
	if queue {
		lines = append(lines, sparklineOf("Waited in Redis", "tasks", points, window, func(p *figures.Point) float64 { return float64(p.Queued) }))
	}
	return lines
}

// sparklineOf leaves out negative values, because they mean that the number is not
// known.
func sparklineOf(name, unit string, points []figures.Point, window time.Duration, value func(*figures.Point) float64) sparkline {
	line := sparkline{Name: name, Unit: unit}
	for i := range points {
		line.Most = max(line.Most, value(&points[i]))
	}
	if len(points) == 0 {
		return line
	}
	end := points[len(points)-1].At
	var text []byte
	for i := range points {
		v := value(&points[i])
		if v < 0 {
			continue
		}
		x := sparkWidth * (1 - float64(end.Sub(points[i].At))/float64(window))
		y := float64(sparkHeight - 2)
		if line.Most > 0 {
			y -= (sparkHeight - 4) * v / line.Most
		}
		text = fmt.Appendf(text, "%.1f,%.1f ", x, y)
	}
	line.Points = string(text)
	return line
}

// typeQuery is the query of a type's page, and of lists of its events.
func typeQuery(name string) template.URL { return encoded(url.Values{"type": {name}}) }

func queueQuery(name string) template.URL { return encoded(url.Values{"queue": {name}}) }
