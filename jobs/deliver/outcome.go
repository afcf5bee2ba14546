package deliver

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"outboxd/domain/words"
)

// Outcome says what happens to a delivery after one attempt to send it.
type Outcome string

// The outcomes.
const (
	Accepted Outcome = "accepted" // the receiver has it
	Repeat   Outcome = "repeat"   // it is tried again
	Refused  Outcome = "refused"  // it is not tried again: it becomes a dead letter
	Gone     Outcome = "gone"     // the receiver wants no deliveries any more: pause the subscription
)

// errEvent is the error if no request can be made of an event. Another attempt would fail in the
// same way, and the error says nothing about the receiver.
var errEvent = errors.New("the event cannot be written as a CloudEvent")

// Attempt is the result of sending a delivery once.
type Attempt struct {
	Outcome Outcome
	Status  int           // 0: no answer
	Took    time.Duration // until the answer was read, or the attempt failed; 0: the breaker stopped it
	Excerpt string        // of the answer, in one line
	// RetryAfter is how long the receiver asked outboxd to wait, at most a day. 0: the receiver did
	// not ask. If the circuit breaker stopped the attempt before it was sent, RetryAfter is the
	// receiver's Pause, but at least a second.
	RetryAfter time.Duration
	// Down says that the attempt says nothing about the delivery: the receiver gave no answer, or
	// answered 407, 429, 502, 503 or 504, or no request could be sent for a reason other than the event.
	Down bool
	Err  error // why there is no answer; quotes neither URL nor secret
}

// String returns the attempt in one line, such as "status 503 after 1.2 s: try
// later".
func (a *Attempt) String() string {
	took := words.Duration(a.Took)
	if errors.Is(a.Err, errEvent) {
		return a.Err.Error()
	}
	if a.Status == 0 {
		return fmt.Sprintf("no answer after %s: %v", took, a.Err)
	}
	if a.Excerpt == "" {
		return fmt.Sprintf("status %d after %s", a.Status, took)
	}
	return fmt.Sprintf("status %d after %s: %s", a.Status, took, a.Excerpt)
}

// judge returns the meaning of a status. After a redirect the delivery is tried again,
// because the operator must change the URL of the subscription first. 407 is the answer of
// a proxy that does not accept outboxd's credentials, so it says nothing about the delivery.
func judge(status int) (outcome Outcome, down bool) {
	switch {
	case status >= 200 && status <= 299:
		return Accepted, false
	case status == http.StatusGone:
		return Gone, false
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return Repeat, false
	case status == http.StatusProxyAuthRequired, status == http.StatusTooManyRequests, status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return Repeat, true
	case status >= 400 && status <= 499:
		return Refused, false
	default:
		return Repeat, false
	}
}
