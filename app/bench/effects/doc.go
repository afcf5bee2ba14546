// Package effects has the benchmarks of how fast a backlog takes effect: events go
// from the outbox through Redis to a worker that commits one effect each. It compares
// outboxd with plain transactions and with other software.
//
// How fast the relay alone is, is in package drains.
package effects
