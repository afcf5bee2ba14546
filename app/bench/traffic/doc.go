// Package traffic simulates producers during a benchmark. The producers emit events
// steadily, all at once, or as fast as they can. The type Stopwatch records when
// each event is committed, enqueued and handled, and when its effect is committed.
package traffic
