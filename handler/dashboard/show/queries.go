package show

import (
	"html/template"
	"net/url"
)

// Encoded returns a URL query as a type that templates do not escape again.
func Encoded(q url.Values) template.URL {
	return template.URL(q.Encode()) //nolint:gosec // Encode leaves nothing that could end an attribute
}

// TypeQuery returns the query of the address of a type's page, and of a list of the type's
// events.
func TypeQuery(name string) template.URL { return Encoded(url.Values{"type": {name}}) }

// QueueQuery returns the query of the address of a queue's page, and of a list of the
// queue's events or dead letters.
func QueueQuery(name string) template.URL { return Encoded(url.Values{"queue": {name}}) }
