package figures

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
)

// span is a choice of time for the charts. A chart shows a window, in steps. One row of
// the chart's table is a line.
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
