package lead

import (
	"testing"
	"time"
)

// Reconciling takes a tenth of the time of servers that answer quickly, and a fortieth
// of those that have more to do.
func TestReconcilingRestsLongerWhereTheServersAreBusy(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration]time.Duration{
		0: 0, 10 * time.Millisecond: 90 * time.Millisecond, 100 * time.Millisecond: 900 * time.Millisecond,
		101 * time.Millisecond: 39 * 101 * time.Millisecond, 2 * time.Second: 78 * time.Second,
	} {
		if got := ReconcileRest(took); got != want {
			t.Errorf("after a page of %v it rests for %v, want %v", took, got, want)
		}
	}
}
