// Package live has the benchmarks without a backlog: events come while outboxd runs, or
// none come. The benchmarks of package live measure how soon an event gets through, what a
// long load and an idle process cost, and how much outboxd slows producers down.
package live
