package deliver

import (
	"fmt"
	"net/http"
	"time"
)

// Outcome says what is to become of a delivery after an attempt.
type Outcome string

// The outcomes.
const (
	Accepted Outcome = "accepted" // the receiver has it
	Repeat   Outcome = "repeat"   // to be tried again
	Refused  Outcome = "refused"  // never tried again: a dead letter
	Gone     Outcome = "gone"     // the receiver wants no delivery any more: pause the subscription
)

// Attempt is what became of sending a delivery once.
type Attempt struct {
	Outcome Outcome
	Status  int           // 0: no answer
	Took    time.Duration // until the answer was read, or given up
	Excerpt string        // of the answer, in one line
	// RetryAfter is how long the receiver wants not to be asked again, at most a
	// day; 0: it did not say.
	RetryAfter time.Duration
	// Down says that the receiver does not work, so that the attempt tells nothing
	// about its delivery: no answer, 429, 502, 503 or 504.
	Down bool
	Err  error // why there is no answer; it quotes neither URL nor secret
}

// String says it in a line, as in "status 503 after 1.2s: try later".
func (a *Attempt) String() string {
	took := a.Took.Round(time.Millisecond)
	if a.Status == 0 {
		return fmt.Sprintf("no answer after %s: %v", took, a.Err)
	}
	if a.Excerpt == "" {
		return fmt.Sprintf("status %d after %s", a.Status, took)
	}
	return fmt.Sprintf("status %d after %s: %s", a.Status, took, a.Excerpt)
}

// judge says what a status means. A redirect is tried again: the operator has to change
// the subscription's URL.
func judge(status int) (outcome Outcome, down bool) {
	switch {
	case status >= 200 && status <= 299:
		return Accepted, false
	case status == http.StatusGone:
		return Gone, false
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return Repeat, false
	case status == http.StatusTooManyRequests, status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return Repeat, true
	case status >= 400 && status <= 499:
		return Refused, false
	default:
		return Repeat, false
	}
}
