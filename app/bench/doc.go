// Package bench lists the benchmarks of outboxd: how fast the relay drains a backlog,
// how soon an event gets through, and what it costs. They run on their user's own
// machine.
//
// Most benchmarks compare several variants (arms) within one run and report ratios. The
// benchmarks latency, idle and soak report times, costs and sizes, and no ratios.
// Figures of different machines, or of one machine at different times, cannot be
// compared. A benchmark uses a PostgreSQL schema and a Redis database of its own, which
// package env makes.
//
// The benchmarks themselves are in the packages below: drains and effects have those
// with a backlog, live has those without. Package costing measures for "bench plan".
package bench
