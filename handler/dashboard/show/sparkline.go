package show

import (
	"fmt"
	"time"

	"outboxd/domain/figures"
	"outboxd/domain/words"
)

// Sparkline is a small chart without axes.
type Sparkline struct {
	Name   string
	Points string // the points of an SVG polyline, 300 wide and 48 high
	Most   string // the largest value, for people; "" if no value is known
}

const (
	sparkWidth  = 300
	sparkHeight = 48
)

// Sparklines draws the rate of confirmed events, their delay, the failed attempts unless they are unseen, and, for a
// queue, how many tasks waited in Redis.
func Sparklines(points []figures.Point, window time.Duration, queue, unseen bool) []Sparkline {
	lines := []Sparkline{
		sparklineOf("Confirmed", words.Rate, points, window, func(p *figures.Point) float64 {
			if p.Seconds <= 0 {
				return -1
			}
			return float64(p.Confirmed) / p.Seconds
		}),
		sparklineOf("Delay, 99 %", seconds, points, window, func(p *figures.Point) float64 { return p.P99.Seconds() }),
	}
	if !unseen {
		lines = append(lines, sparklineOf("Failed attempts", whole, points, window, func(p *figures.Point) float64 { return float64(p.Failed) }))
	}
	if queue {
		lines = append(lines, sparklineOf("Waited in Redis", func(n float64) string { return words.Many(int64(n), "task") }, points, window, func(p *figures.Point) float64 { return float64(p.Queued) }))
	}
	return lines
}

func seconds(s float64) string { return words.Duration(time.Duration(s * float64(time.Second))) }

func whole(n float64) string { return words.Count(int64(n)) }

// sparklineOf draws one chart. sparklineOf leaves out negative values, because they mean
// that the number is not known.
func sparklineOf(name string, written func(float64) string, points []figures.Point, window time.Duration, value func(*figures.Point) float64) Sparkline {
	line := Sparkline{Name: name}
	most := -1.0
	for i := range points {
		most = max(most, value(&points[i]))
	}
	if most >= 0 {
		line.Most = written(most)
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
		if most > 0 {
			y -= (sparkHeight - 4) * v / most
		}
		text = fmt.Appendf(text, "%.1f,%.1f ", x, y)
	}
	line.Points = string(text)
	return line
}
