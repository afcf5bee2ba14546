package relay

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// How often an open breaker probes: from probeFirst, doubling to probeLast.
// The latter bounds how long a recovery goes unnoticed.
const (
	probeFirst   = 50 * time.Millisecond
	probeLast    = time.Second
	probeTimeout = 2 * time.Second
	// steady is how long a server has to be well before its next failure
	// counts as a new outage. A server that answers probes and fails at work
	// would otherwise be hammered, and fill the log.
	steady = 10 * time.Second
)

// breaker keeps all pollers of a process away from a server that is gone, while
// one of them probes it.
type breaker struct {
	name  string
	probe func(ctx context.Context) error
	gauge prometheus.Gauge // 1 while open
	log   *slog.Logger

	probing chan struct{} // holds one token: who has it may probe

	mu     sync.Mutex
	cause  error         // nil while closed
	closed chan struct{} // closed when the breaker closes; nil while it is
	since  time.Time     // when it opened
	well   time.Time     // when it closed
	flaps  int           // openings within one outage
}

func newBreaker(name string, probe func(context.Context) error, gauge prometheus.Gauge, log *slog.Logger) *breaker {
	b := &breaker{name: name, probe: probe, gauge: gauge, log: log, probing: make(chan struct{}, 1)}
	b.probing <- struct{}{}
	return b
}

// trip opens the breaker. Further failures of the same outage change nothing.
func (b *breaker) trip(cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cause != nil {
		return
	}
	now := time.Now()
	if b.flaps++; now.Sub(b.well) > steady {
		b.flaps, b.since = 0, now
	}
	b.cause, b.closed = cause, make(chan struct{})
	b.gauge.Set(1)
	if b.flaps == 0 {
		b.log.Warn("the "+b.name+" cannot be used; relaying pauses, events wait in the outbox", "error", cause)
	}
}

// fault returns why the breaker is open, nil while it is closed.
func (b *breaker) fault() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cause
}

// wait returns nil once the breaker is closed, or ctx's error. Of those who
// wait, one probes; if it leaves, another takes over.
func (b *breaker) wait(ctx context.Context) error {
	for {
		b.mu.Lock()
		closed := b.closed
		b.mu.Unlock()
		if closed == nil {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-closed:
		case <-b.probing:
			b.probeUntilClosed(ctx)
			b.probing <- struct{}{}
		}
	}
}

func (b *breaker) probeUntilClosed(ctx context.Context) {
	b.mu.Lock()
	n := b.flaps
	b.mu.Unlock()
	for b.fault() != nil {
		n++
		// At least half of the ceiling, so that a probe is never a hammer.
		limit := ceiling(probeFirst, probeLast, n)
		timer := time.NewTimer(limit/2 + backoff(limit/2, limit/2, 1))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		attempt, cancel := context.WithTimeout(ctx, probeTimeout)
		err := b.probe(attempt)
		cancel()
		if err == nil {
			b.close()
		}
	}
}

func (b *breaker) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cause == nil {
		return
	}
	b.well = time.Now()
	b.log.Info("the "+b.name+" answers again; relaying goes on", "outage", b.well.Sub(b.since).Round(time.Millisecond))
	b.cause = nil
	close(b.closed)
	b.closed = nil
	b.gauge.Set(0)
}
