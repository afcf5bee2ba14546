package relay

import (
	"sync"
	"time"

	"outboxd/domain"
)

const (
	// cursorSlack keeps the cursor behind the present: transactions that were
	// begun before the newest claimed event's may still commit. What takes
	// longer than this is left to the sweep.
	cursorSlack = 50 * time.Millisecond
	// sweepEvery bounds how late the sweep finds an event while the relay is
	// busy, as long as a sweep costs less than sweepShare of that.
	sweepEvery = time.Second
	// sweepShare is the inverse of the share of time that sweeps may take.
	sweepShare = 20
)

// cursor is how far a process has claimed. Scans start there, because with an
// old snapshot open somewhere PostgreSQL cannot remove the entries of claimed
// events from the index, and a scan from its beginning would read them all again.
//
// The cursor is a hint: events commit out of order, and failed batches come
// back. A sweep, which is a scan from the beginning, finds what fell behind: at
// once when a scan from the cursor comes back empty, and otherwise every second,
// but never for more than a twentieth of the time. It is shared by the pollers
// of a process.
type cursor struct {
	mu    sync.Mutex
	at    domain.Cursor
	empty bool      // the last scan found nothing
	swept time.Time // when the last sweep ended
	cost  time.Duration
	steps int  // how often the cursor stepped back
	owed  bool // a scan found nothing, and a sweep would have cost too much then
}

// scan is one claim: where from, and what for.
type scan struct {
	from  domain.Cursor
	sweep bool
	begun time.Time
	steps int
}

// next returns the scan to make now.
func (c *cursor) next(now time.Time) scan {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := now.Sub(c.swept)
	if since >= sweepShare*c.cost && (c.empty || since >= sweepEvery) {
		// Claimed by one poller: the others go on from the cursor meanwhile.
		c.swept, c.owed = now, false
		return scan{sweep: true, begun: now, steps: c.steps}
	}
	return scan{from: c.at, begun: now, steps: c.steps}
}

// untilSweep returns how long it is until a sweep is possible that was not when
// a scan found nothing; false if there was no such scan. Without a look at that
// time what lies behind the cursor would wait for the next wake-up, of which the
// one that announced it may have been the last.
func (c *cursor) untilSweep(now time.Time) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, sweepShare*c.cost-now.Sub(c.swept)), c.owed
}

// done records what a scan found, and reports whether another one, now a sweep,
// may find more.
func (c *cursor) done(s scan, batch domain.Batch, now time.Time) (again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.empty = len(batch.Events())+batch.Held() == 0
	if s.sweep {
		c.swept, c.cost = now, now.Sub(s.begun)
	}
	if c.empty {
		again = !s.sweep && now.Sub(c.swept) >= sweepShare*c.cost
		c.owed = c.owed || !s.sweep && !again
		return again
	}
	switch last := batch.Reached(); {
	case last.Compare(c.at) > 0:
		// A scan that began before the cursor stepped back has not seen what
		// that was for, and must not take the cursor beyond it again.
		if s.steps == c.steps {
			c.at = last
		}
	case s.sweep && batch.Full(): // more is left behind the old place
		c.at = last
		c.steps++
	}
	if latest := (domain.Cursor{Due: batch.Now().Add(-cursorSlack)}); c.at.Compare(latest) > 0 {
		c.at = latest
	}
	return false
}

// lost says that claimed events are due again where they were.
func (c *cursor) lost(first domain.Cursor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first.Compare(c.at) < 0 {
		// The scan begins after the cursor, so step before the event.
		c.at = domain.Cursor{Due: first.Due.Add(-time.Microsecond)}
	}
	c.steps++ // also where the cursor stands before them: a scan under way may have passed them over
}

// rewind says that events anywhere behind the cursor can be claimed again.
func (c *cursor) rewind() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = domain.Cursor{}
	c.steps++
}
