package relay

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
	"outboxd/relay/pace"
)

const (
	// queueProbe is how often the relay probes a closed queue. Before the first probe the relay pauses.
	queueProbe = time.Second
	// queueRetryLast bounds that pause. The pause grows each time that the queue is closed in the same outage,
	// because a failed trial costs a batch.
	queueRetryLast = 30 * time.Second
	// queueTrial is how long a queue without events must be open after a successful probe before it counts as
	// working.
	queueTrial = time.Minute
)

// queueOutages handles queues that cannot be used while others can: their events stay in the database. It probes
// such a queue. After a successful probe the queue's next events are published as a trial, which shows whether the
// queue works. queueOutages is safe for concurrent use.
type queueOutages struct {
	probe  func(ctx context.Context, queue string) error
	log    *slog.Logger
	gauge  *prometheus.GaugeVec
	opened func()        // called when a queue may be served again
	begun  chan struct{} // raised when a queue was closed

	some   atomic.Bool // there is an outage, which is rare
	mu     sync.Mutex
	queues map[string]*queueOutage
}

type queueOutage struct {
	closed bool
	failed int       // failed trials
	next   time.Time // closed: time of the next probe; open: from then on it counts as working
	since  time.Time
}

func newQueueOutages(probe func(context.Context, string) error, gauge *prometheus.GaugeVec, log *slog.Logger, opened func()) *queueOutages {
	return &queueOutages{probe: probe, log: log, gauge: gauge, opened: opened, begun: make(chan struct{}, 1), queues: map[string]*queueOutage{}}
}

// judge reads the receipts of a batch. It records which queues cannot be used, and which work again. If the
// receipts show an outage of the whole Redis, it returns the cause.
func (q *queueOutages) judge(events []domain.Event, receipts []domain.Receipt) error {
	var found map[string]error
	for i, r := range receipts {
		if verdictOf(r) != domain.Untried {
			continue
		}
		failure := r.Failure()
		if _, one := errors.AsType[*domain.QueueOutage](failure); !one {
			return failure
		}
		if found == nil {
			found = map[string]error{}
		}
		found[events[i].Queue] = failure
	}
	if found != nil || q.some.Load() {
		q.update(events, found)
	}
	return nil
}

func (q *queueOutages) update(events []domain.Event, found map[string]error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, cause := range found {
		o := q.queues[name]
		if o == nil {
			o = &queueOutage{since: time.Now()}
			q.queues[name] = o
			q.gauge.WithLabelValues(name).Set(1)
			q.log.Warn("a queue cannot be used; its events wait in the outbox, and events of other queues are published", "queue", name, "error", cause)
		}
		if !o.closed { // several pollers may report the same trial
			o.closed, o.next = true, time.Now().Add(pace.Ceiling(queueProbe, queueRetryLast, o.failed+1))
			o.failed++
		}
	}
	for i := range events {
		if o := q.queues[events[i].Queue]; o != nil && !o.closed && found[events[i].Queue] == nil {
			q.works(events[i].Queue, o)
		}
	}
	q.some.Store(len(q.queues) > 0)
	if found != nil {
		pace.Raise(q.begun)
	}
}

func (q *queueOutages) works(name string, o *queueOutage) {
	delete(q.queues, name)
	q.gauge.DeleteLabelValues(name)
	q.log.Info("a queue works again", "queue", name, "outage", time.Since(o.since).Round(time.Millisecond))
}

// run probes until ctx ends.
func (q *queueOutages) run(ctx context.Context) error {
	for {
		// Probe before waiting for begun: an earlier run that panicked may have consumed the signal.
		for q.some.Load() && ctx.Err() == nil {
			pace.Wait(ctx, queueProbe)
			q.probeAll(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-q.begun:
		}
	}
}

func (q *queueOutages) probeAll(ctx context.Context) {
	opened := false
	for _, name := range q.due(time.Now()) {
		attempt, cancel := context.WithTimeout(ctx, probeTimeout)
		err := q.probe(attempt, name)
		cancel()
		if err != nil {
			continue
		}
		q.mu.Lock()
		if o := q.queues[name]; o != nil && o.closed {
			o.closed, o.next, opened = false, time.Now().Add(queueTrial), true
		}
		q.mu.Unlock()
	}
	if opened {
		q.opened()
	}
}

// due returns the queues whose next probe is due. due also ends the outage of a queue that has had no events
// during its trial.
func (q *queueOutages) due(now time.Time) (names []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, o := range q.queues {
		switch {
		case now.Before(o.next):
		case o.closed:
			names = append(names, name)
		default:
			q.works(name, o)
		}
	}
	q.some.Store(len(q.queues) > 0)
	return names
}

// The method closed appends to names the queues that cannot be used: their events stay in the database for now.
func (q *queueOutages) closed(names []string) []string {
	if !q.some.Load() {
		return names
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, o := range q.queues {
		if o.closed {
			names = append(names, name)
		}
	}
	return names
}

// UnusableQueues returns the queues that cannot be used while others can, including queues in their trial.
func (r *Relay) UnusableQueues() []string {
	r.parts.mu.Lock()
	defer r.parts.mu.Unlock()
	var names []string
	for name := range r.parts.queues {
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare[string])
	return names
}
