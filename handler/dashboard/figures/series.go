package figures

import (
	"time"

	"outboxd/domain/overview"
)

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
