// Package registration has the handler of the example's events, which sends the
// notifications. Package notify has the senders.
//
// It is a handler like any other: the core does not import it.
package registration
