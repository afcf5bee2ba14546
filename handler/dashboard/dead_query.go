package dashboard

import (
	"html/template"
	"net/url"
	"slices"
	"strings"
	"time"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/handler/dashboard/show"
)

// deadQuery is what a person chose on the pages of dead letters.
type deadQuery struct {
	Type, Queue, Key, Header, Field, Error, Without, Since, Until string
	Form                                                          string   // what the errors have in common, as in domain.DeadGroup.ErrorForm
	Not                                                           []string // forms of errors that are left out
	IDs                                                           []string
	Fault                                                         string // what is wrong with the query
}

// pair is a name and a value of a query, in an address or in fields of an HTML form.
type pair struct{ Name, Value string }

// maxNot is how many forms of errors a query can leave out.
const maxNot = 50

// readDeadQuery reads the query of an address, or a form. Its errors have
// domain.CodeInvalid.
func readDeadQuery(values url.Values) (q deadQuery, f domain.DeadFilter, err error) {
	get := func(name string) string { return strings.TrimSpace(show.Typed(values.Get(name))) }
	q = deadQuery{
		Type: get("type"), Queue: get("queue"), Key: get("key"), Header: get("header"), Field: get("field"), Error: get("error"), Without: get("without"),
		Since: get("since"), Until: get("until"), Form: values.Get("form"), Not: values["not"], IDs: values["id"],
	}
	if len(q.IDs) > maxChosen || len(q.Not) > maxNot {
		return q, f, domain.Errorf(domain.CodeInvalid, "that is too much for one form: choose up to %d dead letters, and leave out up to %d errors", maxChosen, maxNot)
	}
	f = domain.DeadFilter{Type: q.Type, Queue: q.Queue, OrderingKey: q.Key, Error: q.Error, ErrorForm: q.Form, NotForms: q.Not}
	if f.HeaderName, f.HeaderValue, err = domain.ParseHeader(q.Header); err != nil {
		return q, f, err
	}
	if q.Without != "" {
		f.NotErrors = []string{q.Without}
	}
	for _, text := range q.IDs {
		id, err := domain.EventID(text)
		if err != nil {
			return q, f, err
		}
		f.IDs = append(f.IDs, id)
	}
	now := time.Now()
	for _, moment := range []struct {
		text string
		at   *time.Time
	}{{q.Since, &f.Since}, {q.Until, &f.Until}} {
		if moment.text == "" {
			continue
		}
		if *moment.at, err = lives.ParseMoment(moment.text, now); err != nil {
			return q, f, err
		}
	}
	f.Payload, err = domain.ParsePayloadField(q.Field)
	return q, f, err
}

// Pairs returns the choice as names and values, for the hidden fields of a form and
// for the log of actions.
func (q *deadQuery) Pairs() (pairs []pair) {
	for _, p := range []pair{
		{"type", q.Type},
		{"queue", q.Queue},
		{"key", q.Key},
		{"header", q.Header},
		{"field", q.Field},
		{"error", q.Error},
		{"without", q.Without},
		{"since", q.Since},
		{"until", q.Until},
		{"form", q.Form},
	} {
		if p.Value != "" {
			pairs = append(pairs, p)
		}
	}
	for _, form := range q.Not {
		pairs = append(pairs, pair{"not", form})
	}
	for _, id := range q.IDs {
		pairs = append(pairs, pair{"id", id})
	}
	return pairs
}

// choosesDead reports whether the filter leaves out any of the dead letters that have died
// until its end. The end does not count, because the forms add one by themselves.
func choosesDead(filter domain.DeadFilter) bool {
	filter.Until = time.Time{}
	return filter.Narrows()
}

// Query returns the choice, followed by more pairs, as the query of an address.
func (q *deadQuery) Query(more ...pair) template.URL {
	values := url.Values{}
	for _, p := range append(q.Pairs(), more...) {
		values.Add(p.Name, p.Value)
	}
	return show.Encoded(values)
}

// hiddenChoice is a part of a choice that no field of the form shows.
type hiddenChoice struct {
	Text string
	Rest template.URL // the query without it
}

// Hidden returns the parts of the choice that links set: the form of an error, and those that are left out.
func (q *deadQuery) Hidden() (hidden []hiddenChoice) {
	if q.Form != "" {
		rest := *q
		rest.Form = ""
		hidden = append(hidden, hiddenChoice{"only: " + q.Form, rest.Query()})
	}
	for i, form := range q.Not {
		rest := *q
		rest.Not = slices.Delete(slices.Clone(q.Not), i, i+1)
		hidden = append(hidden, hiddenChoice{"not: " + form, rest.Query()})
	}
	return hidden
}

// said returns the choice for the log of actions. Most names are those of flags of the
// command outboxd dead.
func (q *deadQuery) said() map[string]string {
	said := map[string]string{}
	for _, p := range q.Pairs() {
		name := map[string]string{"without": "not-error", "form": "error-form", "not": "not-error-form", "id": "ids"}[p.Name]
		if name == "" {
			name = p.Name
		}
		if said[name] != "" {
			said[name] += "\n"
		}
		said[name] += p.Value
	}
	if said["ids"] != "" {
		said["ids"] = strings.Join(q.IDs, " ")
	}
	return said
}

// clause is one part of a choice in words. If it ends with a time, At is that time.
type clause struct {
	Text string
	At   time.Time
}

// clauseOfMoment returns the clause of a field that takes a time. A value in another
// form, such as how long ago something was, stays as the visitor wrote it.
func clauseOfMoment(text, value string) clause {
	if at, err := time.Parse(time.RFC3339Nano, value); err == nil {
		return clause{text, at}
	}
	return clause{Text: text + " " + value}
}

// Says describes in words which dead letters the query chooses; empty if it chooses
// all.
func (q *deadQuery) Says() (clauses []clause) {
	for _, c := range []struct{ text, value string }{
		{"of type", q.Type},
		{"in queue", q.Queue},
		{"of key", q.Key},
		{"with the header", q.Header},
		{"with the payload field", q.Field},
		{"whose error contains", q.Error},
		{"whose error does not contain", q.Without},
		{"whose error is", q.Form},
	} {
		if c.value != "" {
			clauses = append(clauses, clause{Text: c.text + " " + c.value})
		}
	}
	for _, form := range q.Not {
		clauses = append(clauses, clause{Text: "not with the error " + form})
	}
	if q.Since != "" {
		clauses = append(clauses, clauseOfMoment("that died since", q.Since))
	}
	if q.Until != "" {
		clauses = append(clauses, clauseOfMoment("that died until", q.Until))
	}
	if len(q.IDs) > 0 {
		clauses = append(clauses, clause{Text: "that were chosen"})
	}
	return clauses
}
