package pace

import (
	"math/rand/v2"
	"time"
)

// Backoff returns how long to wait after the n-th failure (n from 1): a random time between 0 and Ceiling(base,
// limit, n), the method called "full jitter". Because the time is random, events that were refused together do
// not become due together.
func Backoff(base, limit time.Duration, n int) time.Duration {
	return rand.N(Ceiling(base, limit, n) + 1)
}

// Ceiling returns the longest wait after the n-th failure (n from 1). Ceiling is base after the first failure and
// doubles with each failure up to limit.
func Ceiling(base, limit time.Duration, n int) time.Duration {
	d := min(base, limit)
	for ; n > 1 && d < limit; n-- {
		d = min(2*d, limit)
	}
	return d
}
