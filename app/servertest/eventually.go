package servertest

import (
	"testing"
	"time"
)

// Eventually waits for a condition. Only a failing test waits the whole half
// minute.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	if !Within(30*time.Second, condition) {
		t.Fatalf("after 30 s still not: %s", what)
	}
}

// Within reports whether a condition is met before the limit is over. It asks again
// every few milliseconds, and once more at the end.
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
