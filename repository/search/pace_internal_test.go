package search

import (
	"testing"
	"time"
)

// A search that reads the payload of each event must not begin a step that takes longer than the time that is left.
func TestStepsFitIntoTheTimeThatIsLeft(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		step       int
		took, left time.Duration
		want       int
	}{
		"cheap":                {firstStep, 2 * time.Millisecond, 148 * time.Millisecond, longestStep},
		"costly":               {firstStep, 20 * time.Millisecond, 130 * time.Millisecond, 1625},
		"costly, near the end": {1625, 65 * time.Millisecond, 65 * time.Millisecond, 812},
		"hardly any time":      {firstStep, 20 * time.Millisecond, 7 * time.Millisecond, 0},
		"no time":              {longestStep, time.Millisecond, 0, 0},
		"too late":             {longestStep, time.Millisecond, -time.Second, 0},
		"too fast to measure":  {firstStep, 0, time.Second, longestStep},
	} {
		if got := nextStep(c.step, c.took, c.left); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
