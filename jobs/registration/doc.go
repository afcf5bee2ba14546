// Package registration has the handler of the example's events, which sends the
// notifications. The senders are in the package notify.
//
// It is one handler like any other: the core does not import it.
package registration
