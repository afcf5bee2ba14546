package show

import (
	"fmt"
	"time"

	"outboxd/domain/figures"
)

// Sparkline is a small chart without axes.
type Sparkline struct {
	Name, Unit string
	Points     string // the points of an SVG polyline, 300 wide and 48 high
	Most       float64
	Seconds    bool // Most is in seconds
}

const (
	sparkWidth  = 300
	sparkHeight = 48
)

// Sparklines draws the rate of confirmed events, their delay, the failed attempts and, for
// a queue, how many tasks waited in Redis.
func Sparklines(points []figures.Point, window time.Duration, queue bool) []Sparkline {
	lines := []Sparkline{
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

// sparklineOf draws one chart. sparklineOf leaves out negative values, because they mean
// that the number is not known.
func sparklineOf(name, unit string, points []figures.Point, window time.Duration, value func(*figures.Point) float64) Sparkline {
	line := Sparkline{Name: name, Unit: unit}
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
