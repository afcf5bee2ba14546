// Package registration holds the terms and rules of the example service: users register, and the service sends them
// notifications.
//
// The example is an ordinary producer and consumer of events. The core of outboxd does not import it.
package registration
