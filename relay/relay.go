// Package relay moves committed events from the outbox to the queue: N pollers
// claim, publish and settle; a waker tells them when there may be work; a
// housekeeper, one among all processes, keeps the tables in shape.
//
// The package knows neither SQL nor Redis, only the interfaces of domain.
package relay

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
)

// Options are the dependencies and the tuning of a Relay. All are required.
type Options struct {
	Store        domain.EventStore
	Publisher    domain.Publisher
	Presence     domain.Presence
	Housekeeping domain.Housekeeping
	// Database reports whether the database answers.
	Database func(ctx context.Context) error

	Process      domain.RelayProcess
	Concurrency  int           // pollers; at least 1
	BatchSize    int           // events that one claim takes at most; at least 1
	MaxAttempts  int           // refusals until an event is dead; at least 1
	BackoffBase  time.Duration // ceiling of the delay after the first refusal
	BackoffMax   time.Duration // ceiling of every delay
	PollInterval time.Duration // longest sleep without a wake-up

	History        time.Duration // how long sent events are remembered
	InboxRetention time.Duration // how long confirmations are; at least History
	KeyRetention   time.Duration // how long Idempotency-Keys are

	Logger   *slog.Logger
	Registry prometheus.Registerer
}

// Relay is one process's share of the work. Run every one of its Actors.
type Relay struct {
	o        Options
	log      *slog.Logger
	metrics  *metrics
	waker    *waker
	cursor   cursor
	queue    *breaker // open while the queue is unreachable
	database *breaker // open while the database is
}

// Actor is something to run until its context ends. Run may be called again
// after it returned an error.
type Actor struct {
	Name string
	Run  func(ctx context.Context) error
}

// New returns a Relay. It starts nothing.
func New(o Options) *Relay {
	log := o.Logger.With("component", "relay")
	m := newMetrics(o.Registry)
	r := &Relay{o: o, log: log, metrics: m}
	r.waker = newWaker(o, log, func() bool { return r.queue.fault() != nil })
	r.queue = newBreaker("queue", o.Publisher.Ping, m.breaker("queue"), log, r.waker.reconsider)
	r.database = newBreaker("database", o.Database, m.breaker("database"), log, func() {})
	return r
}

// Actors returns the pollers, the two halves of the waker, and the housekeeper. They are
// independent: each may fail and be started again while the others run.
func (r *Relay) Actors() []Actor {
	actors := []Actor{
		{"presence", r.waker.show},
		{"listener", r.waker.listen},
		{"housekeeper", (&housekeeper{o: r.o, log: r.log, metrics: r.metrics}).run},
	}
	for range r.o.Concurrency {
		actors = append(actors, Actor{"poller", (&poller{Relay: r}).run})
	}
	return actors
}

// Wake tells the relay that an event was committed, without the way through
// the database. It never blocks.
func (r *Relay) Wake() { r.waker.wake() }

// QueueReachable returns nil, or why the relay has stopped publishing.
func (r *Relay) QueueReachable() error { return r.queue.fault() }
