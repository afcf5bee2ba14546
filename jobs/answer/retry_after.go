package answer

import (
	"net/http"
	"strings"
	"time"
)

// maxRetryAfter bounds how long a receiver can delay a message.
const maxRetryAfter = 24 * time.Hour

// RetryAfter returns the time to wait from now by a Retry-After header (RFC
// 9110, section 10.2.3), which has whole seconds or a date. It is at most
// maxRetryAfter, and 0 if the header is missing, in the past or invalid.
func RetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds := 0
		for _, digit := range value {
			// Stopping at the bound prevents an overflow.
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
