// Package chaos breaks a running outboxd in every way that it claims to survive, and
// then counts.
//
// A run starts relays, workers and producers as processes. Faults hit them and their
// servers at times that follow from a seed. Then everything settles. The run compares
// the events that the producers know to have committed with the tasks in Redis, the
// effects, and the rows that are left. For that, producers and workers write a
// ledger in a schema of their own. outboxd's tables cannot be the ledger, because
// they are what is tested.
//
// The same seed gives the same faults at the same times, but they do not always hit
// the same work. The package has tests and their helpers only, so none of it is in
// the binary.
package chaos
