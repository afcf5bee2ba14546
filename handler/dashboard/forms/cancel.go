package forms

import (
	"html/template"
	"net/url"
	"time"

	"outboxd/domain"
	"outboxd/domain/lives"
)

// Cancel is the cancellation of the events that a search chooses. The visitor has not confirmed it yet.
type Cancel struct {
	Events
	AsOf     time.Time // when the visitor opened the form
	Token    string    // see Token
	Matched  int64
	More     bool // there may be more events than Matched
	Counting bool // the page counts a second time, for longer
	Limited  bool // a queue has more failing tasks than the cancellation reads
	Reason   string
}

// ReadCancel reads which events the form chooses, and refuses a form that chooses all events. ReadCancel turns times
// that are relative to now into absolute times. The filter chooses only open events that were emitted before the visitor
// opened the form.
func ReadCancel(values url.Values, hides Hides) (f Cancel, filter lives.Filter, err error) {
	if f.Reason, err = Reason(values.Get("reason")); err != nil {
		return f, filter, err
	}
	f.Token = Token(values)
	if f.Events, filter, err = ReadEvents(values, hides); err != nil {
		return f, filter, err
	}
	if !ChoosesEvents(filter) {
		return f, filter, domain.Errorf(domain.CodeInvalid, "choose events first: by type, state or time, for example")
	}
	if f.AsOf, err = asOf(values); err != nil {
		return f, filter, err
	}
	filter.Open, filter.EmittedBefore = true, f.AsOf
	f.fix(filter.Since, filter.Until)
	return f, filter, nil
}

// Pairs returns the choice as names and values.
func (f *Cancel) Pairs() []Pair { return append(f.Events.Pairs(), Pair{"as-of", absolute(f.AsOf)}) }

// Query returns the choice as the query of an address.
func (f *Cancel) Query() template.URL { return query(f.Pairs()) }

// Says describes in words which events the form chooses.
func (f *Cancel) Says() []Clause {
	return append(f.Events.Says(), Clause{"emitted before", f.AsOf})
}

// Said returns the form for the record of actions.
func (f *Cancel) Said() map[string]string { return said(f.Pairs()) }
