package wakeup

import (
	"testing"
	"time"
)

func TestRate(t *testing.T) {
	t.Parallel()
	var r rate
	now := time.Now()
	if got := r.add(50, now); got != 500 {
		t.Errorf("50 events in the first tenth of a second: %d/s, want 500", got)
	}
	if got := r.add(150, now.Add(50*time.Millisecond)); got != 2000 {
		t.Errorf("200 events in the first tenth: %d/s, want 2000", got)
	}
	if got := r.add(0, now.Add(120*time.Millisecond)); got != 2000 {
		t.Errorf("just after: %d/s, want the last tenth's 2000", got)
	}
	if got := r.add(1, now.Add(time.Second)); got != 10 {
		t.Errorf("after a pause: %d/s, want 10", got)
	}
	if got := r.quiet(now.Add(time.Second)); got != time.Second-120*time.Millisecond {
		t.Errorf("quiet for %v", got)
	}
}
