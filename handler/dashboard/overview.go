package dashboard

import (
	"github.com/gofiber/fiber/v2"

	"outboxd/handler/dashboard/live"
	"outboxd/handler/dashboard/shell"
	"outboxd/handler/dashboard/sight"
)

type overviewData struct {
	*sight.State
	Verdict sight.Verdict
}

func (d *Dashboard) overviewPage() shell.Page {
	s := d.Watch.Look()
	return shell.Page{Template: "overview", Title: "Overview", Section: shell.SectionOverview, Data: overviewData{s, sight.Judge(s)}}
}

func (d *Dashboard) overview(c *fiber.Ctx) error { return d.Render(c, d.overviewPage()) }

// frame renders those parts of the overview that change with the state of the system.
func (d *Dashboard) frame() (f live.Frame, err error) {
	p := d.overviewPage()
	if f.Announced, err = d.Draw("announced", p); err != nil {
		return live.Frame{}, err
	}
	if f.Verdict, err = d.Draw("verdict", p); err != nil {
		return live.Frame{}, err
	}
	f.State, err = d.Draw("state", p)
	return f, err
}
