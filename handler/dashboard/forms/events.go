package forms

import (
	"html/template"
	"net/url"
	"slices"
	"strings"
	"time"

	"outboxd/domain"
	"outboxd/domain/lives"
)

// Events is what a visitor chose on the page of events.
type Events struct {
	Choice
	ID, State string
	NotStates []string // left out
}

// ReadEvents reads the query of an address, or a form.
func ReadEvents(values url.Values, hides Hides) (q Events, f lives.Filter, err error) {
	q.ID, q.State = strings.TrimSpace(values.Get("id")), values.Get("state")
	q.NotStates = domain.Named(values["not-state"])
	if q.Choice, err = readChoice(values); err != nil {
		return q, f, err
	}
	m, err := q.meaning(time.Now(), hides)
	if err != nil {
		return q, f, err
	}
	f = lives.Filter{
		Type: q.Type, Queue: q.Queue, OrderingKey: q.Key, Error: q.Error, NotTypes: q.NotTypes, NotErrors: q.NotErrors,
		HeaderName: m.headerName, HeaderValue: m.headerValue, Payload: m.payload, NotFields: m.notFields, NotKeys: q.NotKeys, NotHeaders: m.notHeaders, Since: m.since, Until: m.until,
	}
	if f.State, err = lives.ParseState(q.State); err != nil {
		return q, f, err
	}
	if f.NotStates, err = lives.ParseStates(q.NotStates); err != nil || q.ID == "" {
		return q, f, err
	}
	f.ID, err = domain.EventID(q.ID)
	return q, f, err
}

// Pairs returns the choice as names and values.
func (q *Events) Pairs() []Pair {
	return slices.Concat(filled(Pair{"id", q.ID}, Pair{"state", q.State}), named("not-state", q.NotStates), q.pairs())
}

// Query returns the choice, followed by the given pairs, as the query of an address.
func (q *Events) Query(more ...Pair) template.URL { return query(append(q.Pairs(), more...)) }

// Says describes in words which events the query chooses; empty if it chooses all.
func (q *Events) Says() []Clause {
	clauses := append(texts(filled(Pair{"with the ID", q.ID})), q.says()...)
	clauses = append(clauses, texts(append(filled(Pair{"in the state", q.State}), named("not in the state", q.NotStates)...))...)
	return append(clauses, moments("emitted", q.Since, q.Until)...)
}

// ChoosesEvents reports whether the filter leaves out any of the events that were emitted before its end. The end does
// not count, because the form adds one by itself.
func ChoosesEvents(filter lives.Filter) bool {
	filter.Until = time.Time{}
	return filter.Narrows()
}
