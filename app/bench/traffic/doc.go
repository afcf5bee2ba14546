// Package traffic is what producers do during a benchmark: they emit events steadily,
// at once or as fast as they can, and a stopwatch keeps the times of events on their
// way.
package traffic
