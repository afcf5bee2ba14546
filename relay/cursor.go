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
}

// scan is one claim: where from, and what for.
type scan struct {
	from  domain.Cursor
	sweep bool
	begun time.Time
}

// next returns the scan to make now.
func (c *cursor) next(now time.Time) scan {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := now.Sub(c.swept)
	if since >= sweepShare*c.cost && (c.empty || since >= sweepEvery) {
		// Claimed by one poller: the others go on from the cursor meanwhile.
		c.swept = now
		return scan{sweep: true, begun: now}
	}
	return scan{from: c.at, begun: now}
}

// done records what a scan found, and reports whether another one, now a sweep,
// may find more.
func (c *cursor) done(s scan, batch domain.Batch, now time.Time) (again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	events := batch.Events()
	c.empty = len(events) == 0
	if s.sweep {
		c.swept, c.cost = now, now.Sub(s.begun)
	}
	if c.empty {
		return !s.sweep && now.Sub(c.swept) >= sweepShare*c.cost
	}
	last := events[len(events)-1].Cursor()
	// A sweep that found a full batch leaves more behind the old place.
	if last.Compare(c.at) > 0 || s.sweep && batch.Full() {
		c.at = last
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
}
