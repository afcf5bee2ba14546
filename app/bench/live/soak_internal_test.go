package live

import (
	"testing"
	"time"
)

// TestSoakTakesAllItsSeconds adds up the phases, with and without a snapshot.
func TestSoakTakesAllItsSeconds(t *testing.T) {
	t.Parallel()
	for _, hold := range []float64{0, 4} {
		s := &soak{seconds: 10, hold: hold}
		before, after := s.around()
		if all := before + time.Duration(hold)*time.Second + after; all != 10*time.Second {
			t.Errorf("with --hold=%v the phases last %v, want 10s", hold, all)
		}
	}
}
