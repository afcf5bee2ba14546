package wakeup

import (
	"sync"
	"time"
)

// rate counts events in windows of rateWindow, and keeps the present window and the one before. The zero value
// is ready to use. It is safe for concurrent use.
type rate struct {
	mu            sync.Mutex
	begun         time.Time // of the current window
	current, last int
	high          time.Time // when the rate was last above busyRate
}

const rateWindow = 100 * time.Millisecond

// add counts events, and returns the rate of the busier of the two windows, in events per second.
func (r *rate) add(events int, now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch age := now.Sub(r.begun); {
	case age >= 2*rateWindow:
		r.last, r.current, r.begun = 0, 0, now
	case age >= rateWindow:
		r.last, r.current, r.begun = r.current, 0, r.begun.Add(rateWindow)
	}
	r.current += events
	perSecond := max(r.last, r.current) * int(time.Second/rateWindow)
	if perSecond > busyRate {
		r.high = now
	}
	return perSecond
}

// quiet returns for how long the rate has not been above busyRate.
func (r *rate) quiet(now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now.Sub(r.high)
}
