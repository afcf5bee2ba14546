// Package chaos tests outboxd under faults: it breaks a running system in ways that
// outboxd claims to survive, and then checks that no event was lost.
//
// A run starts relays, workers and producers as processes. Faults hit these
// processes and their servers. A seed determines the faults and their times.
// Afterwards all faults are repaired, and the system gets time to deliver the rest.
// The run compares the events that producers committed with the tasks in Redis, the
// effects, and the rows that are left. For that, producers and workers keep a
// record in a schema of their own, because outboxd's tables are under test and
// cannot prove themselves right.
//
// With the same profile, the same seed gives the same faults at the same times, but a
// fault does not always interrupt the same work. The package has tests and their helpers only, so
// none of it is in the binary.
package chaos
