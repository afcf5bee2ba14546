package relay

import (
	"fmt"
	"sync/atomic"
	"time"
)

// hangsAfter is how long a pass (claim, publish, commit) may take before it counts as hanging. The time limits of
// the three steps add up to a third of hangsAfter.
const hangsAfter = 3 * (claimPatience + publishPatience + commitPatience)

// passTime is when a poller began its present pass.
type passTime struct {
	begun atomic.Pointer[time.Time] // nil: the poller is in no pass
}

func (t *passTime) begin() { now := time.Now(); t.begun.Store(&now) }
func (t *passTime) end()   { t.begun.Store(nil) }

// Hangs returns an error if a poller's present pass takes far longer than the time limits of its steps allow. A
// poller that sleeps, or that waits for a server to come back, does not hang.
func (r *Relay) Hangs() error {
	for _, p := range r.pollers {
		if begun := p.in.begun.Load(); begun != nil && time.Since(*begun) > hangsAfter {
			return fmt.Errorf("a poller has been in one pass for %v", time.Since(*begun).Round(time.Second))
		}
	}
	return nil
}
