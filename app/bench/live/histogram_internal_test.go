package live

import (
	"math"
	"testing"
)

func TestHistogramQuantile(t *testing.T) {
	t.Parallel()
	buckets := []bucket{{1, 0}, {2, 50}, {4, 90}, {8, 90}, {math.Inf(1), 100}}
	for q, want := range map[float64]float64{.5: 2, .25: 1.5, .7: 3, .9: 4, .99: 8} {
		if got := quantile(buckets, q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	if got := quantile(nil, .5) + quantile([]bucket{{math.Inf(1), 0}}, .5); got != 0 {
		t.Errorf("quantiles of nothing: %v", got)
	}
}
