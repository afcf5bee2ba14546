// Package effects has the benchmarks of how fast a backlog takes effect: events go from
// the outbox through Redis to a worker, which commits one effect for each event. Package
// effects compares outboxd with plain transactions and with other software.
//
// Package drains measures how fast the relay alone is.
package effects
