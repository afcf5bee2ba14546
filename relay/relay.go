// Package relay moves committed events from the outbox to the queue: N pollers
// claim, publish and commit. Package wakeup tells them when there may be work;
// package lead does, in one among all processes, what is done for all.
//
// The package knows neither SQL nor Redis, only the interfaces of domain.
package relay

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outboxd/domain"
	"outboxd/relay/lead"
	"outboxd/relay/wakeup"
)

// Options are the dependencies and the tuning of a Relay. All but the bounds are
// required, and what lead.Duties does not require.
type Options struct {
	lead.Duties // what it does for all relays while it is the leader

	Store     domain.EventStore
	Publisher domain.Publisher
	Presence  domain.Presence
	// Database reports whether the database answers.
	Database func(ctx context.Context) error

	Process      domain.RelayProcess
	Concurrency  int           // pollers; at least 1
	BatchSize    int           // events that one claim takes at most; at least 1
	MaxAttempts  int           // refusals until an event is dead; at least 1
	BackoffBase  time.Duration // ceiling of the delay after the first refusal
	BackoffMax   time.Duration // ceiling of every delay
	PollInterval time.Duration // longest sleep while producers notify and LISTEN works
	PollMin      time.Duration // shortest sleep, right after work; the next ones double
	// PollWithoutListen is the longest sleep while LISTEN does not work. A shorter
	// PollInterval holds then too.
	PollWithoutListen time.Duration
	// Listen says whether to wait for producers' notifications. Without, they
	// are not asked for any.
	Listen bool

	// MaxQueue bounds queues: the events of one that holds as many unfinished
	// tasks wait in the store. Lengths measures them; without bounds neither is
	// needed.
	MaxQueue map[string]int
	Lengths  domain.QueueLengths

	Logger   *slog.Logger
	Registry prometheus.Registerer
}

// Relay is one process's share of the work. Run every one of its Actors.
type Relay struct {
	o        Options
	log      *slog.Logger
	metrics  *metrics
	waker    *wakeup.Waker
	cursor   cursor
	queue    *breaker // open while the queue is unreachable
	database *breaker // open while the database is
	parts    *queueOutages
	bounds   *bounds // nil: none
	leader   *lead.Leader
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
	unreachable := func() bool { return r.queue.fault() != nil }
	r.waker = wakeup.New(wakeup.Options{
		Presence: o.Presence, Process: o.Process, PollInterval: o.PollInterval, PollMin: o.PollMin, PollWithoutListen: o.PollWithoutListen,
		Paused: unreachable, Logger: log,
	})
	r.leader = lead.New(o.Duties, lead.Relay{
		Process: o.Process, Unreachable: unreachable, HandedOver: m.relayed.Load, Logger: log, Registry: o.Registry,
	})
	// A queue that is back may have lost something while it was away.
	changed := func() { r.waker.Reconsider(); r.leader.Look() }
	r.queue = newBreaker("queue", o.Publisher.Ping, m.breaker("queue"), log, changed)
	opened := func() { r.cursor.rewind(); r.waker.Wake() }
	r.parts = newQueueOutages(o.Publisher.PingQueue, m.unusable, log, opened)
	if len(o.MaxQueue) > 0 {
		r.bounds = newBounds(o.Lengths, o.MaxQueue, m.full, log, opened)
	}
	r.database = newBreaker("database", o.Database, m.breaker("database"), log, func() {})
	return r
}

// Actors returns the pollers, the two halves of the waker, and the leader. They are
// independent: each may fail and be started again while the others run.
func (r *Relay) Actors() []Actor {
	actors := []Actor{
		{"presence", r.waker.Show},
		{"queue outages", r.parts.run},
		{"leader", r.leader.Run},
	}
	if r.o.Listen {
		actors = append(actors, Actor{"listener", r.waker.Listen})
	}
	if r.bounds != nil {
		actors = append(actors, Actor{"queue bounds", r.bounds.run})
	}
	for range r.o.Concurrency {
		actors = append(actors, Actor{"poller", (&poller{Relay: r}).run})
	}
	return actors
}

// Wake tells the relay that an event was committed, without the way through
// the database. It never blocks.
func (r *Relay) Wake() { r.waker.Wake() }

// QueueReachable returns nil, or why the relay has stopped publishing.
func (r *Relay) QueueReachable() error { return r.queue.fault() }

// QueueUsable returns nil, or why the relay cannot publish, also while a probe has
// just succeeded: a queue may answer, and let nobody enqueue.
func (r *Relay) QueueUsable() error { return r.queue.outageCause() }

// DatabaseUsable returns nil, or why the relay cannot work with the database,
// which may well answer: a standby does, and a server whose disk is full.
func (r *Relay) DatabaseUsable() error { return r.database.outageCause() }
