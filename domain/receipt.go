package domain

import "errors"

// Answer says what was read of the queue's answer about one event.
type Answer uint8

// The answers. The zero Answer is that there was none: nothing is known about
// the event, which is therefore not delivered.
const (
	Unanswered   Answer = iota
	Accepted            // the queue took the task
	AlreadyThere        // the queue had the task already
	Duplicate           // another event's task holds the lock of a unique one
	Rejected            // the queue or its client says no to this event, this time
	Impossible          // the event can never be accepted
)

// Receipt is what is known of one event after it was handed to the queue. Only
// what was read makes one: its zero value is Unanswered.
type Receipt struct {
	Answer Answer
	// Err is the cause of Unanswered, Rejected and Impossible. It is nil where
	// the queue has the task. With Duplicate it may say what is not yet known.
	Err error
	// Holder is the ID of the task that holds the lock, with Duplicate.
	Holder string
}

// Received reports whether the queue has the event's task.
func (r Receipt) Received() bool { return r.Answer == Accepted || r.Answer == AlreadyThere }

var errUnanswered = errors.New("the queue gave no answer about this event")

// Failure returns nil where the event needs no further attempt. Otherwise it
// returns the cause, with CodeUnavailable if the event is unanswered and with
// CodeInvalid if it is impossible.
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

// coded wraps err unless it has that code already.
func coded(code Code, err error, message string) error {
	if ErrorCode(err) == code {
		return err
	}
	return Wrap(code, err, message)
}
