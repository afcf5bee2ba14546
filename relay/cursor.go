package relay

import (
	"sync"
	"time"

	"outboxd/domain"
)

const (
	// cursorSlack keeps the cursor a little behind the present: older
	// transactions may still commit. The sweep finds events of transactions
	// that take longer than this.
	cursorSlack = 50 * time.Millisecond
	// sweepEvery bounds how late the sweep finds an event while the relay is
	// busy, as long as a sweep costs less than sweepShare of that.
	sweepEvery = time.Second
	// Sweeps may take one in sweepShare of the time.
	sweepShare = 20
)

// cursor is how far a process has claimed. Scans start there. With an old
// snapshot open, PostgreSQL cannot remove the index entries of claimed events,
// and a scan from the beginning would read all of them again.
//
// The cursor is only a hint: events commit out of order, and failed batches
// return. A sweep, which is a scan from the beginning, finds the events behind
// the cursor. A sweep follows at once when a scan from the cursor finds nothing,
// and otherwise every second, but never for more than a twentieth of the time.
// The pollers of a process share the cursor.
type cursor struct {
	mu    sync.Mutex
	at    domain.Cursor
	empty bool      // the last scan found nothing
	swept time.Time // when the last sweep ended
	cost  time.Duration
	steps int  // how often the cursor stepped back
	owed  bool // a scan found nothing when a sweep would have cost too much
}

// scan describes one claim: where it begins, and whether it is a sweep.
type scan struct {
	from  domain.Cursor
	sweep bool
	begun time.Time
	steps int
}

// next returns the next scan.
func (c *cursor) next(now time.Time) scan {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := now.Sub(c.swept)
	if since >= sweepShare*c.cost && (c.empty || since >= sweepEvery) {
		// One poller sweeps; the others continue from the cursor meanwhile.
		c.swept, c.owed = now, false
		return scan{sweep: true, begun: now, steps: c.steps}
	}
	return scan{from: c.at, begun: now, steps: c.steps}
}

// untilSweep returns the time until an owed sweep is possible; false if none is
// owed. A sweep is owed if a scan found nothing when a sweep was not allowed.
// Without it, events behind the cursor would wait for the next wake-up, and
// theirs may have been the last.
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
		// If the cursor stepped back after this scan began, the scan has not
		// seen those events, and must not move the cursor past them.
		if s.steps == c.steps {
			c.at = last
		}
	case s.sweep && batch.Full(): // there is more before the cursor's old place
		c.at = last
		c.steps++
	}
	if latest := (domain.Cursor{Due: batch.Now().Add(-cursorSlack)}); c.at.Compare(latest) > 0 {
		c.at = latest
	}
	return false
}

// lost records that claimed events are due again at their old places.
func (c *cursor) lost(first domain.Cursor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first.Compare(c.at) < 0 {
		// A scan begins after the cursor, so step to before the event.
		c.at = domain.Cursor{Due: first.Due.Add(-time.Microsecond)}
	}
	c.steps++ // also if the cursor is before them: a running scan may have skipped them
}

// rewind moves the cursor to the beginning, because events anywhere behind it
// may be due.
func (c *cursor) rewind() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = domain.Cursor{}
	c.steps++
}
