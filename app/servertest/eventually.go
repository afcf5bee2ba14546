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
// the condition every few milliseconds, and once more at the end.
func Within(limit time.Duration, condition func() bool) bool {
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(limit); time.Now().Before(end); <-look.C {
		if condition() {
			return true
		}
	}
	return condition()
}
