// Package traffic plays producers during a benchmark. They emit events steadily, all
// at once, or as fast as they can. A stopwatch records the times of events on their
// way.
package traffic
