package servertest

import (
	"testing"
	"time"
)

// Eventually waits for a condition, and asks again every few milliseconds. Half a
// minute is only the length of a failure.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !condition() {
		select {
		case <-look.C:
		case <-deadline.C:
			t.Fatalf("after 30 s still not: %s", what)
		}
	}
}
