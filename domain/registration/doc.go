// Package registration holds the terms and rules of the example: users who
// register, and the notifications that they are sent.
//
// The example is a producer and a consumer like any other. The core of outboxd
// does not import it.
package registration
