package relay

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/relay/pace"
)

// How often an open breaker probes its server: the pause doubles from probeFirst to probeLast. So a recovery is
// noticed within about probeLast, or within probeLast plus probeTimeout if the last probe before the recovery got no
// answer.
const (
	probeFirst   = 50 * time.Millisecond
	probeLast    = time.Second
	probeTimeout = 2 * time.Second
)

// breaker stops all pollers of a process while a server (PostgreSQL or Redis) is down. One of the pollers probes
// the server. After a successful probe all pollers try to work again. The outage ends only when the work of a
// poller succeeds. A server may answer probes although work fails, for example a database that has become
// read-only. All failures until work succeeds count as one outage, which is reported once.
type breaker struct {
	name  string
	probe func(ctx context.Context) error
	gauge prometheus.Gauge // 1 during an outage
	log   *slog.Logger
	// changed is called after the breaker opened or closed, while no lock is held.
	changed func()

	probing chan struct{} // holds one token: the poller that has it may probe

	mu     sync.Mutex
	cause  error         // why the breaker is open; nil while it is closed
	closed chan struct{} // closed when the breaker closes; nil while the breaker is closed
	outage time.Time     // when the outage began; zero if there is none
	latest error         // the outage's latest cause, also while the breaker is closed for a trial
	trips  int           // how often the breaker has opened in this outage
}

func newBreaker(name string, probe func(context.Context) error, gauge prometheus.Gauge, log *slog.Logger, changed func()) *breaker {
	b := &breaker{name: name, probe: probe, gauge: gauge, log: log, changed: changed, probing: make(chan struct{}, 1)}
	b.probing <- struct{}{}
	return b
}

// trip opens the breaker. It is called when the work of a poller fails. While the breaker is open, further
// failures are ignored. If the work fails after a successful probe, the breaker opens again, and the probes become
// less frequent.
func (b *breaker) trip(cause error) {
	if b.open(cause) {
		b.changed()
	}
}

func (b *breaker) open(cause error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cause != nil {
		return false
	}
	b.cause, b.latest, b.closed = cause, cause, make(chan struct{})
	if b.trips++; b.trips == 1 {
		b.outage = time.Now()
		b.gauge.Set(1)
		b.log.Warn("the "+b.name+" cannot be used; relaying pauses, events wait in the outbox", "error", cause)
	}
	return true
}

// succeeded is called when the work of a poller has succeeded, which ends an outage.
func (b *breaker) succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.trips == 0 || b.cause != nil {
		return
	}
	b.log.Info("the "+b.name+" works again; relaying goes on", "outage", time.Since(b.outage).Round(time.Millisecond))
	b.trips, b.outage, b.latest = 0, time.Time{}, nil
	b.gauge.Set(0)
}

// fault returns why the breaker is open, or nil while it is closed.
func (b *breaker) fault() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cause
}

// outageCause returns the cause of the present outage, or nil if there is none. While probes succeed and work
// fails, fault alternates between nil and an error; outageCause does not.
func (b *breaker) outageCause() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.latest
}

// wait returns nil as soon as the breaker is closed, or the error of ctx. One of the waiting pollers probes the
// server; if that poller's context ends, another poller takes over.
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
		}
	}
}

func (b *breaker) probeUntilClosed(ctx context.Context) {
	defer func() { b.probing <- struct{}{} }()
	b.mu.Lock()
	n := b.trips
	b.mu.Unlock()
	for ; b.fault() != nil; n++ {
		// The pause is at least half of the ceiling, so that probes are never too frequent.
		limit := pace.Ceiling(probeFirst, probeLast, n)
		pace.Wait(ctx, limit/2+pace.Backoff(limit/2, limit/2, 1))
		if ctx.Err() != nil {
			return
		}
		attempt, cancel := context.WithTimeout(ctx, probeTimeout)
		err := b.probe(attempt)
		cancel()
		if err == nil {
			b.close()
			b.changed()
		}
	}
}

func (b *breaker) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cause = nil
	close(b.closed)
	b.closed = nil
}
