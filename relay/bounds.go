package relay

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
)

const (
	// boundsEvery is how often the relay reads the lengths of bounded queues from Redis.
	boundsEvery = 100 * time.Millisecond
	// A full queue opens again when 1/reopenShare of its bound is free, so that it does not open and close for every
	// few tasks.
	reopenShare = 10
	// boundsQuiet is how long a queue must have been open before its closing is logged. A queue near its bound
	// closes many times a second.
	boundsQuiet = time.Minute
)

// bounds keeps the events of full queues in the database. A queue is full when it has as many unfinished tasks as
// --relay-max-queue allows, and stays closed until enough tasks are done (see reopenShare). Between two measurements
// of the queues, it counts the events that this process enqueues. A queue may exceed its bound: events that are
// already claimed are still enqueued, and events that other processes enqueue count only from the next measurement.
type bounds struct {
	lengths domain.QueueLengths
	limits  map[string]int
	log     *slog.Logger
	gauge   *prometheus.GaugeVec
	opened  func() // called when a queue may be served again

	mu     sync.Mutex
	queues map[string]*boundedQueue
}

type boundedQueue struct {
	length   int64
	added    int64 // how many events this process has ever enqueued
	measured bool
	full     bool
	since    time.Time // when it last opened after it had been full
}

// The method closed reports whether the events of q stay in the database.
func (q *boundedQueue) closed() bool { return q.full || !q.measured }

// newBounds returns bounds. A bounded queue is closed until it has been measured.
func newBounds(lengths domain.QueueLengths, limits map[string]int, gauge *prometheus.GaugeVec, log *slog.Logger, opened func()) *bounds {
	b := &bounds{lengths: lengths, limits: limits, log: log, gauge: gauge, opened: opened, queues: map[string]*boundedQueue{}}
	for queue := range limits {
		b.queues[queue] = &boundedQueue{}
		gauge.WithLabelValues(queue).Set(1)
	}
	return b
}

// run measures until ctx ends. While Redis does not answer, no queue opens.
func (b *bounds) run(ctx context.Context) error {
	names := slices.Sorted(maps.Keys(b.limits))
	ticker := time.NewTicker(boundsEvery)
	defer ticker.Stop()
	for {
		added := b.addedUntil()
		if lengths, err := b.lengths.Lengths(ctx, names); err == nil {
			b.measured(lengths, added, time.Now())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// addedUntil returns how many events this process has enqueued into each queue until now.
func (b *bounds) addedUntil() map[string]int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	added := make(map[string]int64, len(b.queues))
	for name, q := range b.queues {
		added[name] = q.added
	}
	return added
}

// measured applies the lengths that a measurement found. The parameter added is what addedUntil returned before that
// measurement began.
func (b *bounds) measured(lengths, added map[string]int64, now time.Time) {
	if b.update(lengths, added, now) {
		b.opened()
	}
}

// update counts what was enqueued during the measurement on top of its lengths: Redis may have counted before that.
// If it counted later, those events count twice until the next measurement.
func (b *bounds) update(lengths, added map[string]int64, now time.Time) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, q := range b.queues {
		length, answered := lengths[name]
		if !answered {
			continue // the queue stays as it is
		}
		length += q.added - added[name]
		limit := int64(b.limits[name])
		if !q.measured && length < limit || q.full && length <= limit-max(limit/reopenShare, 1) {
			if q.full {
				q.since = now
			}
			q.full, opened = false, true
			b.gauge.WithLabelValues(name).Set(0)
		}
		q.length, q.measured = length, true
		b.closeIfFull(name, q, now)
	}
	return opened
}

// added is called after a batch, and counts those of its events that Redis accepted.
func (b *bounds) added(events []domain.Event, outcomes []domain.Outcome) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, o := range outcomes {
		if q := b.queues[events[i].Queue]; q != nil && o.Verdict == domain.Delivered {
			q.length++
			q.added++
			b.closeIfFull(events[i].Queue, q, time.Now())
		}
	}
}

func (b *bounds) closeIfFull(name string, q *boundedQueue, now time.Time) {
	if q.full || q.length < int64(b.limits[name]) {
		return
	}
	q.full = true
	b.gauge.WithLabelValues(name).Set(1)
	if now.Sub(q.since) > boundsQuiet {
		b.log.Warn("a queue is full; its events wait in the database", "queue", name, "tasks", q.length, "bound", b.limits[name])
	}
}

// The method closed returns the queues whose events stay in the database for now, because the queue is full or
// has not been measured yet.
func (b *bounds) closed() []string {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for name, q := range b.queues {
		if q.closed() {
			names = append(names, name)
		}
	}
	return names
}
