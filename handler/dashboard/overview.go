package dashboard

import (
	"encoding/json"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/domain/overview"
	"outboxd/handler/dashboard/sight"
)

type overviewData struct {
	*sight.State
	Verdict sight.Verdict
}

func (d *Dashboard) overviewPage() Page {
	s := d.watch.Look()
	return Page{Template: "overview", Title: "Overview", Section: SectionOverview, Data: overviewData{s, sight.Judge(s)}}
}

func (d *Dashboard) overview(c *fiber.Ctx) error { return d.Render(c, d.overviewPage()) }

// span is a choice of time for the charts: how long the time is that a chart shows,
// how long one step of the chart is, and how long one row of its table.
type span struct{ window, step, line time.Duration }

// spans has the choices of time that the charts offer, by name. Samples older than 25
// hours cover five minutes each, others ten seconds.
var spans = map[string]span{
	"quarter": {15 * time.Minute, 10 * time.Second, time.Minute},
	"hour":    {time.Hour, 10 * time.Second, 5 * time.Minute},
	"six":     {6 * time.Hour, time.Minute, 15 * time.Minute},
	"day":     {24 * time.Hour, 5 * time.Minute, time.Hour},
	"week":    {7 * 24 * time.Hour, 30 * time.Minute, 6 * time.Hour},
}

// spanOf reads the parameter window.
func spanOf(c *fiber.Ctx) (name string, s span, err error) {
	name = c.Query("window", "hour")
	s, known := spans[name]
	if !known {
		return "", span{}, domain.Errorf(domain.CodeInvalid, "window has to be quarter, hour, six, day or week")
	}
	return name, s, nil
}

// series has the data of the charts. Each list has one value for each time in At;
// null means that there is no value. Rates are in events per second, delays in seconds.
type series struct {
	At        []int64    `json:"at"` // Unix seconds
	Emitted   []*float64 `json:"emitted"`
	Enqueued  []*float64 `json:"enqueued"`
	Confirmed []*float64 `json:"confirmed"`
	Died      []*float64 `json:"died"`
	Pending   []*float64 `json:"pending"`
	Held      []*float64 `json:"held"`
	Queued    []*float64 `json:"queued"` // tasks that wait in Redis
	P50       []*float64 `json:"p50"`
	P99       []*float64 `json:"p99"`
	Marks     []mark     `json:"marks"`
}

// mark is a line in the charts.
type mark struct {
	At   int64  `json:"at"` // Unix seconds
	What string `json:"what"`
}

// marksOf converts the marks of the charts (such as a heal) to the form that the
// page shows, the latest first.
func marksOf(found []overview.HistoryMark) []mark {
	marks := []mark{}
	for _, m := range found {
		what := "Unconfirmed events were sent again: " + m.Detail
		switch m.Kind {
		case overview.MarkLeader:
			what = "Another relay became the leader"
			if m.Detail != "" {
				what += ": " + m.Detail
			}
		case overview.MarkVersion:
			what = "A relay of version " + m.Detail + " started"
		}
		marks = append(marks, mark{m.At.Unix(), what})
	}
	return marks
}

// history sends the charts' data.
func (d *Dashboard) history(c *fiber.Ctx) error {
	name, s, err := spanOf(c)
	if err != nil {
		return err
	}
	z, err := zoomOf(c)
	if err != nil {
		return err
	}
	produce := func() ([]byte, error) {
		points, step, err := d.pointsOf(c, s, z)
		if err != nil {
			return nil, err
		}
		drawn := seriesOf(points, step)
		if d.o.Sources.Events != nil {
			found, err := d.o.Sources.Events.Marks(c.UserContext(), s.window)
			if err != nil {
				return nil, err
			}
			drawn.Marks = marksOf(found)
		}
		return json.Marshal(drawn)
	}
	var body []byte
	if z == nil {
		body, err = d.charts.Recall(name, produce)
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
func (d *Dashboard) pointsOf(c *fiber.Ctx, s span, z *zoom) ([]overview.HistoryPoint, time.Duration, error) {
	if z == nil || d.o.Sources.Events == nil {
		points, err := d.historyOf(c, s.window, s.step)
		return points, s.step, err
	}
	step := z.step(time.Now())
	points, err := d.o.Sources.Events.HistoryBetween(c.UserContext(), z.from, z.until, step)
	return points, step, err
}

func (d *Dashboard) historyOf(c *fiber.Ctx, window, step time.Duration) ([]overview.HistoryPoint, error) {
	if d.o.Sources.Events == nil {
		return nil, nil
	}
	return d.o.Sources.Events.History(c.UserContext(), window, step)
}

// historyTable has the charts' data for an HTML table.
type historyTable struct {
	Window time.Duration
	Points []overview.HistoryPoint
}

// historyTable sends the charts' data as an HTML table.
func (d *Dashboard) historyTable(c *fiber.Ctx) error {
	_, s, err := spanOf(c)
	if err != nil {
		return err
	}
	points, err := d.historyOf(c, s.window, s.line)
	if err != nil {
		return err
	}
	return d.fragment(c, "history", Page{Template: "overview", Data: historyTable{s.window, points}})
}

// seriesOf converts the points for the charts. If measurements are missing for more than
// two steps, seriesOf leaves a gap, so that the chart draws no line there.
func seriesOf(points []overview.HistoryPoint, step time.Duration) series {
	empty := func() []*float64 { return []*float64{} }
	out := series{[]int64{}, empty(), empty(), empty(), empty(), empty(), empty(), empty(), empty(), empty(), []mark{}}
	add := func(at time.Time, values [9]*float64) {
		out.At = append(out.At, at.Unix())
		for i, column := range []*[]*float64{&out.Emitted, &out.Enqueued, &out.Confirmed, &out.Died, &out.Pending, &out.Held, &out.Queued, &out.P50, &out.P99} {
			*column = append(*column, values[i])
		}
	}
	for i, p := range points {
		if i > 0 && p.At.Sub(points[i-1].At) > 3*step {
			add(points[i-1].At.Add(step), [9]*float64{})
		}
		values := [9]*float64{4: new(float64(p.Pending)), 5: new(float64(p.Held)), 7: delay(p.DelayP50), 8: delay(p.DelayP99)}
		if p.Queued >= 0 {
			values[6] = new(float64(p.Queued))
		}
		if p.Seconds > 0 {
			for j, n := range []int64{p.Emitted, p.Enqueued, p.Confirmed, p.Died} {
				values[j] = new(p.Rate(n))
			}
		}
		add(p.At, values)
	}
	return out
}

func delay(d time.Duration) *float64 {
	if d < 0 {
		return nil
	}
	return new(d.Seconds())
}
