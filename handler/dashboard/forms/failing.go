package forms

import (
	"html/template"
	"net/url"
	"time"

	"outboxd/domain"
	"outboxd/domain/failing"
	"outboxd/domain/lives"
)

// Failing is a change of failing tasks (retry or give up) that the visitor has not confirmed yet.
type Failing struct {
	Action, Type, Queue, ErrorForm, ID string
	EmptyError                         string    // onlyEmpty, or ""
	AsOf                               time.Time // when the visitor opened the form; zero if it names a single event
	Token                              string    // see Token
	Matched                            int64
	More                               bool // there may be more tasks than Matched
	Counting                           bool // the page counts a second time, for longer
	Limited                            bool // a queue has more failing tasks than the change reads
	Fault, Reason, Canary              string
	Queues, Paused                     []domain.QueueCount // of the counted tasks; Paused as in Change
}

// ReadFailing reads which failing tasks the form chooses. ReadFailing refuses a form that chooses all of them. The filter
// leaves out tasks that failed after the visitor opened the form, unless the form names a single event.
func ReadFailing(values url.Values) (f Failing, filter failing.Filter, err error) {
	f = Failing{Action: values.Get("action"), Type: values.Get("type"), Queue: values.Get("queue"), ErrorForm: values.Get("error-form"), EmptyError: values.Get(emptyError), ID: values.Get("id"), Token: Token(values), Canary: values.Get("canary")}
	filter = failing.Filter{Filter: lives.Filter{Type: f.Type, Queue: f.Queue}, ErrorForm: f.ErrorForm, NoError: f.EmptyError == onlyEmpty}
	if f.Action != domain.ActionRetry && f.Action != domain.ActionGiveUp {
		return f, filter, domain.Errorf(domain.CodeInvalid, "failing events are retried or given up")
	}
	if f.Reason, err = Reason(values.Get("reason")); err != nil {
		return f, filter, err
	}
	switch {
	case f.EmptyError != "" && f.EmptyError != onlyEmpty:
		return f, filter, domain.Errorf(domain.CodeInvalid, "%s is %s or missing", emptyError, onlyEmpty)
	case f.ID != "":
		id, err := domain.EventID(f.ID)
		filter.IDs = []domain.ID{id}
		return f, filter, err
	case !filter.Narrows():
		return f, filter, domain.Errorf(domain.CodeInvalid, "choose a group or an event first")
	}
	f.AsOf, err = asOf(values)
	filter.AsOf = f.AsOf
	return f, filter, err
}

// Verb returns the caption of the form's button.
func (f *Failing) Verb() string {
	if f.Action == domain.ActionRetry {
		return "Retry now"
	}
	return "Give up"
}

// Pairs returns the choice as names and values.
func (f *Failing) Pairs() []Pair {
	pairs := filled(Pair{"type", f.Type}, Pair{"queue", f.Queue}, Pair{"error-form", f.ErrorForm}, Pair{emptyError, f.EmptyError}, Pair{"id", f.ID})
	if !f.AsOf.IsZero() {
		pairs = append(pairs, Pair{"as-of", absolute(f.AsOf)})
	}
	return pairs
}

// UsualCanary returns the size of the canary that the form suggests; "0": no canary.
func (f *Failing) UsualCanary() string { return usualCanary(f.Canary, f.Matched, f.More) }

// Chosen returns the choice as the query of an address.
func (f *Failing) Chosen() template.URL { return query(f.Pairs()) }

// Query returns the choice and the action as the query of an address.
func (f *Failing) Query() template.URL { return query(append(f.Pairs(), Pair{"action", f.Action})) }

// Said returns the form for the record of actions.
func (f *Failing) Said() map[string]string {
	return said(append(f.Pairs(), canaryPair(f.Canary)...))
}
