// Package drains has the benchmarks of how fast a backlog goes from the outbox to
// Redis: against other loops, at several sizes, beside an old snapshot, by several
// processes, with metrics and traces, and over a network.
//
// No worker runs in them. What happens after Redis is in package effects.
package drains
