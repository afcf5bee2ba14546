package show

import (
	"html/template"
	"net/url"
)

// Encoded returns a URL query as a type that templates do not escape again.
func Encoded(q url.Values) template.URL {
	return template.URL(q.Encode()) //nolint:gosec // Encode leaves nothing that could end an attribute
}

// TypeQuery is the query of a type's page, and of lists of its events.
func TypeQuery(name string) template.URL { return Encoded(url.Values{"type": {name}}) }

// QueueQuery is the query of a queue's page.
func QueueQuery(name string) template.URL { return Encoded(url.Values{"queue": {name}}) }
