package domain

import (
	"errors"
	"fmt"
	"time"
)

// Code is the kind of a failure. A caller decides by the Code what to do.
type Code string

// The error codes. An error without a code counts as CodeInternal.
const (
	CodeInvalid      Code = "invalid"      // the input can never succeed as it is
	CodeUnauthorized Code = "unauthorized" // no or wrong credentials
	CodeForbidden    Code = "forbidden"    // the caller is known, but not allowed
	CodeNotFound     Code = "not_found"
	CodeConflict     Code = "conflict" // contradicts what exists already
	CodeTooLarge     Code = "too_large"
	CodeUnavailable  Code = "unavailable" // a server cannot be reached or used; the same call may succeed later
	CodeInternal     Code = "internal"
)

// FieldError names one bad field of an input.
type FieldError struct {
	Field   string // as the caller wrote it, such as "email"
	Message string // what to change, as a sentence fragment
}

// Error is a failure with a code and a message. The message may be shown to the client that made the request. The
// cause is for the log and for commands; HTTP clients do not see it.
type Error struct {
	Code       Code
	Message    string
	Fields     []FieldError
	RetryAfter time.Duration // 0: the caller may choose
	Finding    *Finding      // with CodeUnavailable: what to mend; nil: not known
	Err        error
}

// Error returns message and cause.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %v", e.Message, e.Err)
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error of the given code whose message may be shown to clients. It has no cause; use Wrap to add
// one.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns an Error of the given code with a message for clients and a
// cause for the log.
func Wrap(code Code, err error, message string) *Error {
	return &Error{Code: code, Message: message, Err: err}
}

// FindingOf returns the finding of the first Error in err's chain that has one.
func FindingOf(err error) (Finding, bool) {
	for err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			break
		}
		if e.Finding != nil {
			return *e.Finding, true
		}
		err = e.Err
	}
	return Finding{}, false
}

// ErrorCode returns the code of the first Error in err's chain, CodeInternal
// if there is none, and "" for nil.
func ErrorCode(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
