package relay

import (
	"fmt"
	"sync/atomic"
	"time"
)

// hangsAfter is how long a pass may take until it counts as one that never ends.
// Its parts have time limits that add up to a third of it.
const hangsAfter = 3 * (claimPatience + publishPatience + commitPatience)

// passTime is when a poller began the pass that it is in.
type passTime struct {
	begun atomic.Pointer[time.Time] // nil: it is in none
}

func (t *passTime) begin() { now := time.Now(); t.begun.Store(&now) }
func (t *passTime) end()   { t.begun.Store(nil) }

// Hangs returns an error if a poller has been in one pass for far longer than the
// limits of its parts allow. A poller that sleeps, or waits for a server to come
// back, does not hang.
func (r *Relay) Hangs() error {
	for _, p := range r.pollers {
		if begun := p.in.begun.Load(); begun != nil && time.Since(*begun) > hangsAfter {
			return fmt.Errorf("a poller has been in one pass for %v", time.Since(*begun).Round(time.Second))
		}
	}
	return nil
}
