package schedules

import (
	"time"

	"outboxd/domain"
)

// longestLook bounds how far back ticks are counted.
const longestLook = 400 * 24 * time.Hour

// plan is what becomes of the ticks that are due.
type plan struct {
	emit    []time.Time
	leftOut int64
	last    time.Time // of those that are due
	next    time.Time
}

// plan decides, for a tick that is due and those behind it. now is the database's clock.
func (c *Cron) plan(due, now time.Time, rule domain.MissedRule) plan {
	var p plan
	var missed []time.Time
	tick := due
	if old := now.Add(-longestLook); tick.Before(old) {
		// What was due before is left out, and not counted.
		if later := c.Next(old); !later.IsZero() {
			tick = later
		}
	}
	for ; !tick.IsZero() && !tick.After(now); tick = c.Next(tick) {
		p.last = tick
		if now.Sub(tick) <= domain.MissedAfter {
			p.emit = append(p.emit, tick)
			continue
		}
		missed = append(missed, tick)
		keep := 0
		switch rule {
		case domain.MissedOnce:
			keep = 1
		case domain.MissedAll:
			keep = domain.MissedAllAtMost
		case domain.MissedSkip:
		}
		if n := len(missed) - keep; n > 0 {
			p.leftOut += int64(n)
			missed = missed[n:]
		}
	}
	p.emit = append(missed, p.emit...)
	p.next = tick
	return p
}
