package servertest

import (
	"testing"
	"time"
)

// Eventually waits up to Patience until a condition is true, and otherwise fails the
// test.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	if !Within(Patience, condition) {
		t.Fatalf("after %v still not: %s", Patience, what)
	}
}

// Within reports whether a condition becomes true within the limit. Within checks
// the condition again and again, and at least once more at the limit.
//
// A check takes processor time from the programs that the test waits for, and the more
// so the busier the machine is. Within therefore pauses after each check for some times
// as long as the check took.
func Within(limit time.Duration, condition func() bool) bool {
	for end := time.Now().Add(limit); ; {
		begun := time.Now()
		if condition() {
			return true
		}
		ended := time.Now()
		if ended.After(end) {
			return condition()
		}
		<-time.After(min(max(pausePerCheck*ended.Sub(begun), shortestPause), longestPause))
	}
}

const (
	pausePerCheck = 5
	shortestPause = 2 * time.Millisecond
	longestPause  = 100 * time.Millisecond
)
