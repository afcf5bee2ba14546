// Package outboxtest is for the tests of services that use outboxd. The package
// runs an outboxd with a PostgreSQL and a Redis of its own, checks which events a
// transaction emitted, and waits until all events took effect.
package outboxtest
