// Package registration has the handler for the events of the example, which sends the
// notifications. Package notify has the senders.
//
// The handler is one like any other: the core of outboxd does not import it.
package registration
