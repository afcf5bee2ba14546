package overview_test

import (
	"testing"
	"time"

	"outboxd/domain/overview"
)

// Figures say the time over which they are if less than their window was measured.
func TestSpan(t *testing.T) {
	t.Parallel()
	const window, late = 5 * time.Minute, 90 * time.Second
	for measured, want := range map[time.Duration]time.Duration{
		0: window, 400 * time.Millisecond: time.Second, 40500 * time.Millisecond: 40 * time.Second,
		200 * time.Second: 3 * time.Minute, 210 * time.Second: window, 330 * time.Second: window,
	} {
		if got := overview.Span(measured, window, late); got != want {
			t.Errorf("of %v: %v, want %v", measured, got, want)
		}
	}
}
