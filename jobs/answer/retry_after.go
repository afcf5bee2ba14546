package answer

import (
	"net/http"
	"strings"
	"time"
)

// maxRetryAfter is the longest time for which one answer can delay the next attempt.
const maxRetryAfter = 24 * time.Hour

// RetryAfter returns how long to wait from now. value is a Retry-After header (RFC 9110,
// section 10.2.3): a number of seconds or a date. The result is at most maxRetryAfter.
// RetryAfter returns 0 if the header is missing, invalid or in the past.
func RetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds := 0
		for _, digit := range value {
			// The loop over the digits stops at maxRetryAfter, so that seconds cannot overflow.
			if seconds = seconds*10 + int(digit-'0'); seconds >= int(maxRetryAfter/time.Second) {
				return maxRetryAfter
			}
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
