package broker

import (
	"maps"

	"outboxd/client/acknowledge"
)

// EventHeaders returns the headers of a task without the one that the relay adds to mark
// the outbox.
func EventHeaders(headers map[string]string) map[string]string {
	if _, marked := headers[acknowledge.Header]; !marked {
		return headers
	}
	own := maps.Clone(headers)
	delete(own, acknowledge.Header)
	return own
}
