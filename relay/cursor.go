package relay

import (
	"sync"
	"time"

	"outboxd/domain"
)

const (
	// cursorSlack keeps the cursor a little behind the present, because transactions with earlier events may still
	// commit. If events have come later than that, the cursor stays twice as far behind as they were late, at most
	// slackMost, until slackFor has passed without such an event. Events of transactions that take still longer are
	// found by the sweep, a scan from the beginning.
	cursorSlack = 50 * time.Millisecond
	slackMost   = 500 * time.Millisecond
	slackFor    = 10 * time.Second
	// sweepEvery is how often a busy relay sweeps, if a sweep takes less than 1/sweepShare (a twentieth) of that time.
	sweepEvery = time.Second
	// Sweeps may take about 1/sweepShare of the time.
	sweepShare = 20
)

// cursor is the position (due time and ID) up to which a process has claimed events. A scan for due events starts
// there. While an old snapshot is open, PostgreSQL cannot remove the index entries of claimed events, and a scan
// from the beginning would read all of them again.
//
// The cursor is only a hint: there may be due events before it, because transactions do not commit in the order of
// due times, and failed batches become due again. A sweep, which is a scan from the beginning, finds these events.
// A sweep follows at once when a scan from the cursor finds nothing, and otherwise every second. It is put off if
// sweeps would then take more than about a twentieth of the time. The pollers of a process share the cursor.
type cursor struct {
	mu    sync.Mutex
	at    domain.Cursor
	empty bool          // the last scan found nothing
	swept time.Time     // when the last sweep ended, or began if it has not ended
	took  time.Duration // how long the last sweep took
	cost  time.Duration // the shorter time of the last two sweeps: one may have waited for a busy machine
	steps int           // how often the cursor stepped back
	owed  bool          // a scan found nothing when a sweep would have cost too much
	ahead bool          // since the last sweep, a scan from the cursor has found events

	read  time.Time     // earlier scans have read all visible events that were due before this time
	slack time.Duration // 0: cursorSlack
	late  time.Time     // when the last late event was found
}

// scan describes one claim: its first position, and whether it is a sweep.
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
		// Only one poller sweeps; the other pollers meanwhile continue from the cursor.
		c.swept, c.owed, c.ahead = now, false, false
		return scan{sweep: true, begun: now, steps: c.steps}
	}
	return scan{from: c.at, begun: now, steps: c.steps}
}

// untilSweep returns the time until an owed sweep is allowed, and false if no sweep is owed. A sweep is owed if a
// scan from the cursor found nothing, and the limit on sweeps did not allow one then. A sweep is also owed, a second
// after the last one, if scans from the cursor have found events since: the wake-up may have announced events before
// the cursor as well, as after a heal. Without the owed sweep, such events would wait for the next wake-up, which may
// never come.
func (c *cursor) untilSweep(now time.Time) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait := sweepShare * c.cost
	if !c.owed {
		wait = max(wait, sweepEvery)
	}
	return max(0, wait-now.Sub(c.swept)), c.owed || c.ahead
}

// done records the result of a scan. done reports whether the caller should scan again, this time with a sweep,
// because a scan from the cursor found nothing.
func (c *cursor) done(s scan, batch domain.Batch, now time.Time) (again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.empty = len(batch.Events())+batch.Held() == 0
	if s.sweep {
		took := now.Sub(s.begun)
		if c.cost = took; c.took > 0 {
			c.cost = min(took, c.took)
		}
		c.swept, c.took = now, took
	}
	c.learn(batch, now)
	if c.empty {
		again = !s.sweep && now.Sub(c.swept) >= sweepShare*c.cost
		c.owed = c.owed || !s.sweep && !again
		return again
	}
	c.ahead = c.ahead || !s.sweep
	switch last := batch.Reached(); {
	case last.Compare(c.at) > 0:
		// If the cursor moved back after this scan began, the scan has not seen the events there, and must not move
		// the cursor past them.
		if s.steps == c.steps {
			c.at = last
		}
	case s.sweep && batch.Full(): // there is more before the cursor's old place
		c.at = last
		c.steps++
	}
	if latest := (domain.Cursor{Due: batch.Now().Add(-max(c.slack, cursorSlack))}); c.at.Compare(latest) > 0 {
		c.at = latest
	}
	return false
}

// learn measures how late events become visible. An event is late if an earlier scan has read past its place and did
// not see it, because its transaction had not committed.
func (c *cursor) learn(batch domain.Batch, now time.Time) {
	if now.Sub(c.late) > slackFor {
		c.slack = 0
	}
	if list := batch.Events(); len(list) > 0 && list[0].Available.Before(c.read) {
		c.slack, c.late = min(max(c.slack, 2*batch.Now().Sub(list[0].Available)), slackMost), now
	}
	if end := batch.Now().Add(-cursorSlack); !batch.Full() && end.After(c.read) {
		c.read = end
	}
}

// lost moves the cursor back to the given one. It is called when the events from there on may be due behind the
// cursor: a batch was put back, other pollers skipped rows that this one had locked, or a claim made deliveries.
func (c *cursor) lost(first domain.Cursor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first.Compare(c.at) < 0 {
		// The result is one microsecond before the given cursor, so that a scan certainly includes the given one.
		c.at = domain.Cursor{Due: first.Due.Add(-time.Microsecond)}
	}
	c.steps++ // also if c is before the given cursor: a running scan may have skipped these events
}

// rewind moves the cursor to the beginning, because there may be due events anywhere before it.
func (c *cursor) rewind() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = domain.Cursor{}
	c.steps++
}
