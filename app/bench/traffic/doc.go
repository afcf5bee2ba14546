// Package traffic simulates producers during a benchmark. They emit events
// steadily, all at once, or as fast as they can. Its Stopwatch records when each
// event is committed, enqueued and handled.
package traffic
