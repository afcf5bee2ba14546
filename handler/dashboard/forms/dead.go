package forms

import (
	"cmp"
	"html/template"
	"net/url"
	"slices"
	"strings"
	"time"

	"outboxd/domain"
	"outboxd/handler/dashboard/show"
)

// maxChosen is how many dead letters a form can name.
const maxChosen = 500

// Dead is what a visitor chose on the pages of dead letters.
type Dead struct {
	Choice
	ErrorForm     string   // the form of the error, as in domain.DeadGroup.ErrorForm
	EmptyError    string   // onlyEmpty, or notEmpty; "": all errors
	NotErrorForms []string // left out
	Stage         string   // that gave the events up
	IDs           []string
}

// ReadDead reads the query of an address, or a form.
func ReadDead(values url.Values, hides Hides) (q Dead, f domain.DeadFilter, err error) {
	if q.Choice, err = readChoice(values); err != nil {
		return q, f, err
	}
	q.ErrorForm, q.NotErrorForms, q.IDs = values.Get("error-form"), domain.Named(values["not-error-form"]), values["id"]
	q.EmptyError, q.Stage = values.Get(emptyError), values.Get("stage")
	if !slices.Contains([]string{"", onlyEmpty, notEmpty}, q.EmptyError) {
		return q, f, domain.Errorf(domain.CodeInvalid, "%s is %s, %s or missing", emptyError, onlyEmpty, notEmpty)
	}
	if !slices.Contains([]domain.Stage{"", domain.StageRelay, domain.StageWorker, domain.StagePerson}, domain.Stage(q.Stage)) {
		return q, f, domain.Errorf(domain.CodeInvalid, "%.20q is not a stage: the stages are relay, worker and person", q.Stage)
	}
	if len(q.IDs) > maxChosen || len(q.NotErrorForms) > maxLeftOut {
		return q, f, domain.Errorf(domain.CodeInvalid, "that is too much for one form: choose up to %d dead letters, and leave out up to %d errors", maxChosen, maxLeftOut)
	}
	m, err := q.meaning(time.Now(), hides)
	if err != nil {
		return q, f, err
	}
	f = domain.DeadFilter{
		Type: q.Type, Queue: q.Queue, Stage: domain.Stage(q.Stage), OrderingKey: q.Key, Error: q.Error, ErrorForm: q.ErrorForm, NoError: q.EmptyError == onlyEmpty, NotTypes: q.NotTypes, NotErrors: q.NotErrors, NotForms: q.NotErrorForms,
		HeaderName: m.headerName, HeaderValue: m.headerValue, Payload: m.payload, NotFields: m.notFields, NotKeys: q.NotKeys, NotHeaders: m.notHeaders, Since: m.since, Until: m.until,
	}
	if q.EmptyError == notEmpty {
		f.NotForms = append(slices.Clip(f.NotForms), "")
	}
	for _, text := range q.IDs {
		id, err := domain.EventID(text)
		if err != nil {
			return q, f, err
		}
		f.IDs = append(f.IDs, id)
	}
	return q, f, nil
}

// GroupedBy returns the payload field by whose values the page groups dead letters, as the visitor wrote it; "": none.
func GroupedBy(values url.Values) string {
	return strings.TrimSpace(show.Typed(values.Get("by-field")))
}

// Among returns the query of those chosen dead letters that have a value in a payload field, and of those that do not
// have it. A query is "" if it cannot choose just these, for example because the form chooses by a single payload
// field, and the visitor has chosen another one.
func (q *Dead) Among(field string, v *domain.FieldValue) (only, without template.URL) {
	condition, out := v.Condition(field)
	if condition == "" {
		return "", ""
	}
	if strings.TrimSpace(condition) != condition {
		condition += "*" // readChoice removes spaces at both ends
	}
	rest := *q
	rest.NotFields = append(slices.Clip(q.NotFields), condition)
	without = rest.Query()
	if name, _, _ := strings.Cut(q.Field, "="); q.Field == "" || name == field {
		with := *q
		with.Field = condition
		only = with.Query()
	}
	if out {
		only, without = without, only
	}
	return only, without
}

// Pairs returns the choice as names and values.
func (q *Dead) Pairs() []Pair {
	return slices.Concat(q.pairs(), q.hiddenPairs(), named("id", q.IDs))
}

// Query returns the choice, followed by the given pairs, as the query of an address.
func (q *Dead) Query(more ...Pair) template.URL { return query(append(q.Pairs(), more...)) }

// hiddenPairs returns the parts of the choice that only links set: the form of an error, the forms that are left out, and
// the stage.
func (q *Dead) hiddenPairs() []Pair {
	return append(filled(Pair{"stage", q.Stage}, Pair{"error-form", q.ErrorForm}, Pair{emptyError, q.EmptyError}), named("not-error-form", q.NotErrorForms)...)
}

// Only returns the choice without the dead letters of other groups.
func (q *Dead) Only(g *domain.DeadGroup) template.URL {
	only := *q
	only.Type, only.Stage, only.ErrorForm, only.EmptyError, only.NotErrorForms = g.Type, string(g.Stage), "", "", nil
	return only.Query(ErrorPair(g.ErrorForm))
}

// OtherErrors returns the choice of the dead letters of the group's type that have other errors; "" if there can be
// none, because the choice has only empty errors.
func (q *Dead) OtherErrors(g *domain.DeadGroup) template.URL {
	others := *q
	others.IDs, others.Type = nil, cmp.Or(q.Type, g.Type)
	switch {
	case g.ErrorForm != "":
		return others.Query(Pair{"not-error-form", g.ErrorForm})
	case q.EmptyError == onlyEmpty:
		return ""
	}
	others.EmptyError = notEmpty
	return others.Query()
}

// OtherTypes returns the choice without the dead letters of a type.
func (q *Dead) OtherTypes(name string) template.URL {
	others := *q
	others.IDs = nil
	return others.Query(Pair{"not-type", name})
}

// HiddenQuery returns the parts of the choice that no field of the form shows, as the query of an address.
func (q *Dead) HiddenQuery() template.URL { return query(q.hiddenPairs()) }

// HiddenChoice is a part of a choice that no field of the form shows.
type HiddenChoice struct {
	Text string
	Rest template.URL // the query without it
}

// Hidden returns the parts of the choice that only links set, as hiddenPairs does.
func (q *Dead) Hidden() (hidden []HiddenChoice) {
	if q.Stage != "" {
		rest := *q
		rest.Stage = ""
		hidden = append(hidden, HiddenChoice{"given up by: " + q.Stage, rest.Query()})
	}
	if q.EmptyError != "" {
		rest := *q
		rest.EmptyError = ""
		hidden = append(hidden, HiddenChoice{q.EmptyError + ": an empty error", rest.Query()})
	}
	if q.ErrorForm != "" {
		rest := *q
		rest.ErrorForm = ""
		hidden = append(hidden, HiddenChoice{"only: " + q.ErrorForm, rest.Query()})
	}
	for i, form := range q.NotErrorForms {
		rest := *q
		rest.NotErrorForms = slices.Delete(slices.Clone(q.NotErrorForms), i, i+1)
		hidden = append(hidden, HiddenChoice{"not: " + form, rest.Query()})
	}
	return hidden
}

// Says describes in words which dead letters the query chooses; empty if it chooses all.
func (q *Dead) Says() []Clause {
	clauses := append(q.says(), texts(filled(Pair{"given up by", q.Stage}, Pair{"whose error is", q.ErrorForm}))...)
	switch q.EmptyError {
	case onlyEmpty:
		clauses = append(clauses, Clause{Text: "whose error is empty"})
	case notEmpty:
		clauses = append(clauses, Clause{Text: "whose error is not empty"})
	}
	clauses = append(clauses, texts(named("not with the error", q.NotErrorForms))...)
	clauses = append(clauses, moments("that died", q.Since, q.Until)...)
	if len(q.IDs) > 0 {
		clauses = append(clauses, Clause{Text: "that were chosen"})
	}
	return clauses
}

// ChoosesDead reports whether the filter leaves out any of the dead letters that have died until its end. The end does
// not count, because the forms add one by themselves.
func ChoosesDead(filter domain.DeadFilter) bool {
	filter.Until = time.Time{}
	return filter.Narrows()
}
