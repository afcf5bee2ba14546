package forms

import (
	"net/url"
	"time"

	"outboxd/domain"
	"outboxd/domain/lives"
)

// Cancel is the cancellation of the events that a search chooses. The visitor has not confirmed it yet.
type Cancel struct {
	Events
	Matched  int64
	More     bool // there may be more events than Matched
	Counting bool // the page counts a second time, for longer
	Reason   string
}

// ReadCancel reads which events the form chooses, and refuses a form that chooses all events. ReadCancel turns times
// that are relative to now into absolute times. The filter chooses only open events that were emitted before now.
func ReadCancel(values url.Values, hides Hides) (f Cancel, filter lives.Filter, err error) {
	if f.Reason, err = Reason(values.Get("reason")); err != nil {
		return f, filter, err
	}
	if f.Events, filter, err = ReadEvents(values, hides); err != nil {
		return f, filter, err
	}
	if !ChoosesEvents(filter) {
		return f, filter, domain.Errorf(domain.CodeInvalid, "choose events first: by type, state or time, for example")
	}
	if now := time.Now(); filter.Until.IsZero() || filter.Until.After(now) {
		filter.Until = now
	}
	filter.Open = true
	f.fix(filter.Since, filter.Until)
	return f, filter, nil
}

// Said returns the form for the record of actions.
func (f *Cancel) Said() map[string]string { return said(f.Pairs()) }
