package figures

import (
	"encoding/json"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain/overview"
	"outboxd/handler/dashboard/shell"
)

// history sends the charts' data.
func (p *Pages) history(c *fiber.Ctx) error {
	name, s, err := spanOf(c)
	if err != nil {
		return err
	}
	z, err := zoomOf(c)
	if err != nil {
		return err
	}
	produce := func() ([]byte, error) {
		points, step, err := p.pointsOf(c, s, z)
		if err != nil {
			return nil, err
		}
		drawn := seriesOf(points, step)
		if p.Overviews != nil {
			found, err := p.Overviews.Marks(c.UserContext(), s.window)
			if err != nil {
				return nil, err
			}
			drawn.Marks = marksOf(found)
		}
		return json.Marshal(drawn)
	}
	var body []byte
	if z == nil {
		body, err = p.charts.Recall(name, produce)
	} else {
		body, err = produce() // hardly two readers choose the same time
	}
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(body)
}

// pointsOf returns the points of a chart, and how long their steps are.
func (p *Pages) pointsOf(c *fiber.Ctx, s span, z *zoom) ([]overview.HistoryPoint, time.Duration, error) {
	if z == nil || p.Overviews == nil {
		points, err := p.historyOf(c, s.window, s.step)
		return points, s.step, err
	}
	step := z.step(time.Now())
	points, err := p.Overviews.HistoryBetween(c.UserContext(), z.from, z.until, step)
	return points, step, err
}

func (p *Pages) historyOf(c *fiber.Ctx, window, step time.Duration) ([]overview.HistoryPoint, error) {
	if p.Overviews == nil {
		return nil, nil
	}
	return p.Overviews.History(c.UserContext(), window, step)
}

// historyTable has the charts' data for an HTML table.
type historyTable struct {
	Window time.Duration
	Points []overview.HistoryPoint
}

// historyTable sends the charts' data as an HTML table.
func (p *Pages) historyTable(c *fiber.Ctx) error {
	_, s, err := spanOf(c)
	if err != nil {
		return err
	}
	points, err := p.historyOf(c, s.window, s.line)
	if err != nil {
		return err
	}
	return p.Fragment(c, "history", shell.Page{Template: "overview", Data: historyTable{s.window, points}})
}
