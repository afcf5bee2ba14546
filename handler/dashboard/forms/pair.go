package forms

import (
	"html/template"
	"net/url"

	"outboxd/handler/dashboard/show"
)

// Pair is a name and a value of a query, in an address or in fields of an HTML form.
type Pair struct{ Name, Value string }

// emptyError is the field for groups whose error is an empty text, because the field error-form chooses nothing if it is
// empty. Its values choose only these groups, or leave them out.
const (
	emptyError = "empty-error"
	onlyEmpty  = "only"
	notEmpty   = "not"
)

// ErrorPair returns the condition that an error has the given form, which may be empty.
func ErrorPair(form string) Pair {
	if form == "" {
		return Pair{emptyError, onlyEmpty}
	}
	return Pair{"error-form", form}
}

// named returns a pair for each value.
func named(name string, values []string) (pairs []Pair) {
	for _, value := range values {
		pairs = append(pairs, Pair{name, value})
	}
	return pairs
}

// filled returns the pairs that have a value.
func filled(pairs ...Pair) (some []Pair) {
	for _, p := range pairs {
		if p.Value != "" {
			some = append(some, p)
		}
	}
	return some
}

// query returns pairs as the query of an address.
func query(pairs []Pair) template.URL {
	values := url.Values{}
	for _, p := range pairs {
		values.Add(p.Name, p.Value)
	}
	return show.Encoded(values)
}

// said returns pairs for the record of actions. A name with several values has a line for each. IDs stand under the
// name ids, with spaces between, as the record has the arguments of a command.
func said(pairs []Pair) map[string]string {
	said := map[string]string{}
	for _, p := range pairs {
		name, between := p.Name, "\n"
		if name == "id" {
			name, between = "ids", " "
		}
		if said[name] != "" {
			said[name] += between
		}
		said[name] += p.Value
	}
	return said
}
