package schedules

import (
	"time"

	"outboxd/domain/setup"
)

// longestLook is how far back missed ticks are counted.
const longestLook = 400 * 24 * time.Hour

// The type plan says what happens to the ticks that are due: which are emitted and how
// many are left out.
type plan struct {
	emit    []time.Time
	leftOut int64
	last    time.Time // the last tick that is due
	next    time.Time
}

// plan decides what happens to the tick at the time due and to every later tick up to
// now, which is the time of the database's clock.
func (c *Cron) plan(due, now time.Time, rule setup.MissedRule) plan {
	var p plan
	var missed []time.Time
	tick := due
	if old := now.Add(-longestLook); tick.Before(old) {
		// Ticks that are older than longestLook are left out and not counted.
		if later := c.Next(old); !later.IsZero() {
			tick = later
		}
	}
	for ; !tick.IsZero() && !tick.After(now); tick = c.Next(tick) {
		p.last = tick
		if now.Sub(tick) <= setup.MissedAfter {
			p.emit = append(p.emit, tick)
			continue
		}
		missed = append(missed, tick)
		keep := 0
		switch rule {
		case setup.MissedOnce:
			keep = 1
		case setup.MissedAll:
			keep = setup.MissedAllAtMost
		case setup.MissedSkip:
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
