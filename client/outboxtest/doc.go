// Package outboxtest is for the tests of services that use outboxd: a running
// outboxd with a PostgreSQL and a Redis of its own, what a transaction emitted, and the
// wait until everything took effect.
package outboxtest
