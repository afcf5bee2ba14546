package pace_test

import (
	"testing"
	"time"

	"outboxd/relay/pace"
)

func TestBackoff(t *testing.T) {
	t.Parallel()
	const base, limit = time.Second, 10 * time.Minute
	for n, want := range map[int]time.Duration{1: base, 2: 2 * base, 3: 4 * base, 10: 512 * base, 11: limit, 60: limit, 1 << 20: limit} {
		if got := pace.Ceiling(base, limit, n); got != want {
			t.Errorf("ceiling of failure %d: %v, want %v", n, got, want)
		}
		var low, high bool
		for range 200 {
			d := pace.Backoff(base, limit, n)
			if d < 0 || d > want {
				t.Fatalf("backoff of failure %d: %v, beyond %v", n, d, want)
			}
			low, high = low || d < want/4, high || d > want*3/4
		}
		if !low || !high {
			t.Errorf("the delays of failure %d are not spread over its range", n)
		}
	}
	if got := pace.Ceiling(time.Hour, time.Minute, 1); got != time.Minute {
		t.Errorf("a base beyond the limit gives %v", got)
	}
}
