package domain

import "errors"

// Answer is the queue's answer about one event.
type Answer uint8

// The answers. The zero Answer means that there was none: the event does not
// count as delivered.
const (
	Unanswered   Answer = iota
	Accepted            // the queue took the task
	AlreadyThere        // the queue had the task already
	Duplicate           // another event's task holds the lock of a unique one
	Rejected            // the queue or its client refused this event, this time
	Impossible          // the event can never be accepted
)

// Receipt is the queue's answer about one event, with its cause. The zero
// Receipt is Unanswered: only an answer that was read counts.
type Receipt struct {
	Answer Answer
	// Err is the cause of Unanswered, Rejected and Impossible. It is nil if the
	// queue has the task. With Duplicate it may say why the holder is not
	// known.
	Err error
	// Holder is the ID of the task that holds the lock, with Duplicate.
	Holder string
}

// Received reports whether the queue has the event's task.
func (r Receipt) Received() bool { return r.Answer == Accepted || r.Answer == AlreadyThere }

var errUnanswered = errors.New("the queue gave no answer about this event")

// Failure returns nil if the event needs no further attempt. Otherwise it
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

// coded wraps err, unless it has that code.
func coded(code Code, err error, message string) error {
	if ErrorCode(err) == code {
		return err
	}
	return Wrap(code, err, message)
}
