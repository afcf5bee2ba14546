package figures

import (
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
)

const (
	// The leader takes a sample every sampleStep. When samples are older than fineFor, the leader joins those of
	// each joinedStep into one.
	sampleStep = 10 * time.Second
	joinedStep = 5 * time.Minute
	fineFor    = 25 * time.Hour

	longestZoom = 8 * 24 * time.Hour // the longest chart shows 7 days; the rest is room for rounding
	latestZoom  = 1 << 33            // Unix seconds: in the year 2242, which PostgreSQL can store
	// mostPoints is how many points a zoomed chart has at most. A chart is a few hundred pixels wide.
	mostPoints = 720
)

// zoom is the time that a reader chose by dragging over a chart.
type zoom struct{ from, until time.Time }

// zoomOf reads the parameters from and until, in Unix seconds. zoomOf returns nil if there are none.
func zoomOf(c *fiber.Ctx) (*zoom, error) {
	if c.Query("from") == "" && c.Query("until") == "" {
		return nil, nil
	}
	from, wrongFrom := strconv.ParseInt(c.Query("from"), 10, 64)
	until, wrongUntil := strconv.ParseInt(c.Query("until"), 10, 64)
	if wrongFrom != nil || wrongUntil != nil || from < 0 || until <= from || until > latestZoom || until-from > int64(longestZoom/time.Second) {
		return nil, domain.Errorf(domain.CodeInvalid, "from and until have to be Unix seconds, one after the other, at most 8 days apart")
	}
	return &zoom{time.Unix(from, 0), time.Unix(until, 0)}, nil
}

// step returns how long a step of the chart is: as short as the samples of this time allow, but no shorter than
// mostPoints allow.
func (z zoom) step(now time.Time) time.Duration {
	finest := sampleStep
	if now.Sub(z.from) > fineFor {
		finest = joinedStep
	}
	merged := int64((z.until.Sub(z.from) + mostPoints*finest - 1) / (mostPoints * finest))
	return time.Duration(max(merged, 1)) * finest
}
