package answer

import (
	"net/http"
	"strings"
	"time"
)

// maxRetryAfter bounds how long a receiver can put a message off.
const maxRetryAfter = 24 * time.Hour

// RetryAfter reads a Retry-After header (RFC 9110, section 10.2.3), whole
// seconds or a date, as the time to wait from now: at most maxRetryAfter, and 0
// if it is missing, past or neither.
func RetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds := 0
		for _, digit := range value {
			// Stopping at the bound leaves no number large enough to overflow.
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
