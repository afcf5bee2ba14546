package live

import "math"

// bucket is a bucket of a Prometheus histogram: count values were less than or
// equal to le.
type bucket struct{ le, count float64 }

// quantile estimates a quantile as Prometheus does: it assumes that values are
// spread evenly within a bucket. For a value in the last bucket, which has no
// upper bound, quantile returns the bucket's lower bound.
func quantile(buckets []bucket, q float64) float64 {
	if len(buckets) == 0 {
		return 0
	}
	rank := q * buckets[len(buckets)-1].count
	var below bucket
	for _, b := range buckets {
		if b.count >= rank && b.count > below.count {
			if math.IsInf(b.le, 1) {
				return below.le
			}
			return below.le + (b.le-below.le)*(rank-below.count)/(b.count-below.count)
		}
		below = b
	}
	return 0
}
