package forms

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"outboxd/domain"
	"outboxd/domain/lives"
	"outboxd/handler/dashboard/show"
)

// maxLeftOut is how many of each kind a form can leave out: types, errors, forms of errors, payload fields, ordering
// keys, headers.
const maxLeftOut = 50

// Choice has the fields with which events and dead letters are chosen, as the visitor wrote them.
type Choice struct {
	Type, Queue, Key, Header, Field, Error, Since, Until string
	NotTypes, NotErrors, NotFields, NotKeys, NotHeaders  []string // left out
	Fault                                                string   // what is wrong with the form
}

func readChoice(values url.Values) (Choice, error) {
	name := func(field string) string { return show.Typed(values.Get(field)) }
	text := func(field string) string { return strings.TrimSpace(name(field)) }
	list := func(field string, read func(string) string) (list []string) {
		for _, value := range values[field] {
			list = append(list, read(show.Typed(value)))
		}
		return domain.Named(list)
	}
	asWritten := func(text string) string { return text }
	c := Choice{
		Type: name("type"), Queue: name("queue"), Key: name("key"), Header: text("header"), Field: text("field"), Error: text("error"), Since: text("since"), Until: text("until"),
		NotTypes: list("not-type", asWritten), NotErrors: list("not-error", asWritten), NotKeys: list("not-key", asWritten),
		NotFields: list("not-field", strings.TrimSpace), NotHeaders: list("not-header", strings.TrimSpace),
	}
	if max(len(c.NotTypes), len(c.NotErrors), len(c.NotFields), len(c.NotKeys), len(c.NotHeaders)) > maxLeftOut {
		return c, domain.Errorf(domain.CodeInvalid, "that is too much for one form: leave out up to %d types, errors, payload fields, keys and headers each", maxLeftOut)
	}
	return c, nil
}

// Hides reports whether the values of a payload field or a header are hidden from the visitor. The visitor may not choose
// by such a value either: the answers would tell it, letter by letter.
type Hides func(name string) bool

// meaning has the parsed values of those fields of a Choice that have a syntax: headers, payload fields and times.
type meaning struct {
	headerName, headerValue string
	payload                 domain.PayloadField
	notFields               []domain.PayloadField
	notHeaders              []domain.Header
	since, until            time.Time // zero: not given
}

func (c *Choice) meaning(now time.Time, hides Hides) (m meaning, err error) {
	if m.headerName, m.headerValue, err = domain.ParseHeader(c.Header); err != nil {
		return m, err
	}
	if m.payload, err = domain.ParsePayloadField(c.Field); err != nil {
		return m, err
	}
	if m.notFields, err = domain.ParsePayloadFields(c.NotFields); err != nil {
		return m, err
	}
	if m.notHeaders, err = domain.ParseHeaders(c.NotHeaders); err != nil {
		return m, err
	}
	if name := m.hidden(hides); name != "" {
		return m, domain.Errorf(domain.CodeInvalid, "the pages hide the values of %.60q from you: choose by the name alone, without a value", name)
	}
	if m.since, err = moment(c.Since, now); err != nil {
		return m, err
	}
	m.until, err = moment(c.Until, now)
	return m, err
}

// hidden returns a name whose values are hidden and that has a value here; "" if there is none.
func (m *meaning) hidden(hides Hides) string {
	for _, h := range append(slices.Clip(m.notHeaders), domain.Header{Name: m.headerName, Value: m.headerValue}) {
		if h.Value != "" && hides(h.Name) {
			return h.Name
		}
	}
	for _, f := range append(slices.Clip(m.notFields), m.payload) {
		if !f.Any && slices.ContainsFunc(f.Path, hides) {
			return strings.Join(f.Path, ".")
		}
	}
	return ""
}

func moment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return lives.ParseMoment(text, now)
}

// fix replaces the times of the choice, which may be relative to now. So the choice stays the same while the visitor
// reads the form.
func (c *Choice) fix(since, until time.Time) {
	if !until.IsZero() {
		c.Until = absolute(until)
	}
	if !since.IsZero() {
		c.Since = absolute(since)
	}
}

func absolute(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

// asOf reads the time at which the visitor opened a form. What happens later is not part of the form's choice. If the
// form has no such time, the visitor opens it now.
func asOf(values url.Values) (at time.Time, err error) {
	now := time.Now()
	if at, err = moment(values.Get("as-of"), now); err != nil || at.IsZero() || at.After(now) {
		at = now
	}
	return at, err
}

func (c *Choice) pairs() []Pair {
	pairs := filled(
		Pair{"type", c.Type},
		Pair{"queue", c.Queue},
		Pair{"key", c.Key},
		Pair{"header", c.Header},
		Pair{"field", c.Field},
		Pair{"error", c.Error},
		Pair{"since", c.Since},
		Pair{"until", c.Until},
	)
	return slices.Concat(pairs, named("not-type", c.NotTypes), named("not-error", c.NotErrors), named("not-field", c.NotFields), named("not-key", c.NotKeys), named("not-header", c.NotHeaders))
}

// says describes the choice in words, without its times.
func (c *Choice) says() []Clause {
	pairs := filled(Pair{"of type", c.Type})
	pairs = append(pairs, named("not of type", c.NotTypes)...)
	pairs = append(pairs, filled(
		Pair{"in queue", c.Queue},
		Pair{"of key", c.Key},
		Pair{"with the header", c.Header},
		Pair{"with the payload field", c.Field},
	)...)
	pairs = append(pairs, named("not of key", c.NotKeys)...)
	pairs = append(pairs, named("without the header", c.NotHeaders)...)
	pairs = append(pairs, named("without the payload field", c.NotFields)...)
	pairs = append(pairs, filled(Pair{"whose error contains", c.Error})...)
	return texts(append(pairs, named("whose error does not contain", c.NotErrors)...))
}
