package gather

import (
	"sync"
	"time"
)

// Distance measures how far away the database is, because batches wait for round trips. The
// zero value is ready to use. The database counts as near until enough round trips are known.
// Distance is safe for concurrent use.
type Distance struct {
	mu       sync.Mutex
	batches  int
	measured int
	shortest time.Duration
}

// enough is how many round trips Distance measures before the result counts. A busy machine
// makes some of them long, but rarely all.
const enough = 8

// Measure is called in each batch with a function that makes one round trip and gives the
// database no work. Measure calls this function in the first batches, later in the 16th, 32nd,
// 64th and so on, and returns its error. The shortest time counts, because a busy machine only
// adds to it.
func (d *Distance) Measure(ask func() error) error {
	if !d.due() {
		return nil
	}
	begun := time.Now()
	if err := ask(); err != nil {
		return err
	}
	took := time.Since(begun)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.measured++; d.measured == 1 || took < d.shortest {
		d.shortest = took
	}
	return nil
}

// due counts a batch, and reports whether it measures.
func (d *Distance) due() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.batches++
	return d.measured < enough || d.batches&(d.batches-1) == 0
}

// roundTrip returns the shortest round trip, or 0 while it is not known.
func (d *Distance) roundTrip() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.measured < enough {
		return 0
	}
	return d.shortest
}

const (
	// For each perBatch of round trip, one more batch runs for each processor. A batch waits
	// for its round trips, and meanwhile the processor can work for others. With too many
	// batches each is small, and a small batch costs more for each event. With 1.2 ms of round
	// trip on two processors, 6 to 8 batches of one-event handlers took the least processor time
	// for an event.
	perBatch = 400 * time.Microsecond
	// mostFar leaves room for other processes in PostgreSQL's max_connections, which is 100 by
	// default.
	mostFar = 32
)

// atOnce returns how many batches may run at the same time. The parameter near is how many may
// run for a database without a round trip; the result is never smaller.
func atOnce(near, most int, trip time.Duration) int {
	n := float64(near) * (1 + float64(trip)/float64(perBatch))
	return max(near, int(min(n, float64(most), mostFar)))
}
