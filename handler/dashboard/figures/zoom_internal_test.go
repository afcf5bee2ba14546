package figures

import (
	"testing"
	"time"
)

// TestZoomsShowTheFinestSamples wants each sample in a zoomed chart, unless there are too many for its width.
func TestZoomsShowTheFinestSamples(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, c := range []struct{ ago, length, want time.Duration }{
		{time.Hour, time.Minute, 10 * time.Second},
		{2 * time.Hour, 2 * time.Hour, 10 * time.Second},
		{24 * time.Hour, 2*time.Hour + time.Second, 20 * time.Second},
		{24 * time.Hour, 24 * time.Hour, 2 * time.Minute},
		{26 * time.Hour, time.Hour, 5 * time.Minute},
		{7 * 24 * time.Hour, 7 * 24 * time.Hour, 15 * time.Minute},
	} {
		from := now.Add(-c.ago)
		if got := (zoom{from, from.Add(c.length)}).step(now); got != c.want {
			t.Errorf("of %v, %v ago: a step of %v, want %v", c.length, c.ago, got, c.want)
		}
	}
}
