package work

import (
	"fmt"
	"testing"
	"time"
)

// A line of the log is due once a minute for each type, up to a bound on
// types.
func TestTally(t *testing.T) {
	t.Parallel()
	var counted tally
	now := time.Now()
	for i, want := range []int{1, 0, 0, 0, 4, 0} {
		if i == 4 {
			now = now.Add(tallyEvery)
		}
		if got := counted.count("a", now); got != want {
			t.Errorf("task %d: %d, want %d", i, got, want)
		}
	}
	if got := counted.count("b", now); got != 1 {
		t.Errorf("another type: %d, want 1", got)
	}
	lines := 0
	for i := range 10 * tallyTypes {
		if counted.count(fmt.Sprint("type ", i), now) > 0 {
			lines++
		}
	}
	if lines > tallyTypes {
		t.Errorf("%d lines of very many types, want at most %d", lines, tallyTypes)
	}
}
