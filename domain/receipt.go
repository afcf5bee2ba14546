package domain

import "errors"

// Answer is the result of publishing one event: what Redis answered, that it gave no answer, or that the event could
// not be sent to it.
type Answer uint8

// The answers. The zero Answer means that Redis gave no answer: the event does not count as delivered.
const (
	Unanswered   Answer = iota
	Accepted            // the queue took the task
	AlreadyThere        // the queue had the task already
	Duplicate           // the event is unique, and another task holds the lock
	Rejected            // the queue or its client refused this event, this time
	Impossible          // the event can never be accepted
)

// Receipt is the Answer for one published event, with its cause. The zero Receipt is Unanswered, because
// only an answer that was read counts.
type Receipt struct {
	Answer Answer
	// Err is the cause of Unanswered, Rejected and Impossible. It is nil if Redis has the task. While a Publisher
	// looks for the Holder of a Duplicate, Err names the lock.
	Err error
	// Holder is the ID of the task that holds the unique lock. Each Duplicate that Publish returns has one.
	Holder string
}

// Received reports whether Redis has the event's task.
func (r Receipt) Received() bool { return r.Answer == Accepted || r.Answer == AlreadyThere }

var errUnanswered = errors.New("the queue gave no answer about this event")

// Failure returns nil if the event needs no further attempt. Otherwise it returns the cause: with CodeUnavailable
// for Unanswered, and with CodeInvalid for Impossible.
func (r Receipt) Failure() error {
	switch r.Answer {
	case Accepted, AlreadyThere, Duplicate:
		return nil
	case Rejected:
		return r.Err
	case Impossible:
		return coded(CodeInvalid, r.Err, "the event can never be enqueued")
	default:
		if r.Err == nil {
			r.Err = errUnanswered
		}
		return coded(CodeUnavailable, r.Err, "the queue is unavailable")
	}
}

// coded wraps err with a code, unless err already has that code.
func coded(code Code, err error, message string) error {
	if ErrorCode(err) == code {
		return err
	}
	return Wrap(code, err, message)
}
