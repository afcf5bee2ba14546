// Package chaos breaks a running outboxd in every way that it claims to
// survive, and then counts.
//
// A run starts relays, workers and producers as processes, lets faults fall on
// them and on their servers at times that follow from a seed, lets everything
// settle, and compares what the producers know to have committed with what is in
// Redis, what took effect and what was left behind. The ledger that it counts
// against is written by the producers and the workers themselves, in a schema
// of its own: outboxd's tables are what is judged.
//
// The same seed gives the same faults at the same times. What they meet differs
// from run to run. All of it is tests and what only they need: nothing of it is in the
// binary.
package chaos
