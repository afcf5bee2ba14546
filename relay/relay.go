// Package relay moves committed events from the outbox to Redis: pollers claim, publish and commit. Package wakeup
// tells the pollers when there may be work. Package lead has the work that one process does for all.
//
// The package contains no SQL and no Redis commands; it uses the interfaces of domain.
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

// Options are the dependencies and the tuning of a Relay. All fields are required, except SubscriptionsChanged, the
// bounds of queues and the optional parts of lead.Duties.
type Options struct {
	lead.Duties // its duties while it is the leader

	Store     domain.EventStore
	Publisher domain.Publisher
	Presence  domain.Presence
	// Database probes the database; the error says why it does not answer.
	Database func(ctx context.Context) error

	Process      domain.RelayProcess
	Concurrency  int           // pollers; at least 1
	BatchSize    int           // most events of one claim; at least 1
	MaxAttempts  int           // refusals until an event is dead; at least 1
	BackoffBase  time.Duration // ceiling of the delay after the first refusal
	BackoffMax   time.Duration // ceiling of every delay
	PollInterval time.Duration // longest sleep while producers notify and LISTEN works
	PollMin      time.Duration // first sleep of an idle poller after work; the next ones double
	// PollWithoutListen is the longest sleep while LISTEN does not work. A shorter
	// PollInterval takes precedence.
	PollWithoutListen time.Duration
	// Listen says whether the relay waits for producers' notifications. If Listen is false, producers do not notify
	// the relay.
	Listen bool
	// SubscriptionsChanged, if not nil, is called when a notification says that a subscription has changed, and
	// whenever listening begins. It must not block.
	SubscriptionsChanged func()

	// MaxQueue bounds the unfinished tasks of queues: events of a full queue wait in the database. Lengths reads
	// the lengths of the queues. Without bounds both may be nil.
	MaxQueue map[string]int
	Lengths  domain.QueueLengths

	Logger   *slog.Logger
	Registry prometheus.Registerer
}

// Relay is the relay of one process. The caller runs every one of its Actors.
type Relay struct {
	o        Options
	log      *slog.Logger
	metrics  *metrics
	waker    *wakeup.Waker
	cursor   cursor
	queue    *breaker // open while Redis does not answer, or does not work for the relay
	database *breaker // as queue, for PostgreSQL
	parts    *queueOutages
	bounds   *bounds // nil: none
	leader   *lead.Leader
	pollers  []*poller
}

// Actor is a part of a relay that runs until its context ends. Run may be
// called again after it returned an error.
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
		Paused: unreachable, Subscriptions: o.SubscriptionsChanged, Logger: log,
	})
	r.leader = lead.New(o.Duties, lead.Relay{
		Process: o.Process, Unreachable: unreachable, Unusable: func() bool { return r.QueueUsable() != nil || r.DatabaseUsable() != nil }, HandedOver: m.relayed.Load, Logger: log, Registry: o.Registry,
	})
	// Redis may have lost data during the outage, so the leader checks it.
	changed := func() { r.waker.Reconsider(); r.leader.Look() }
	r.queue = newBreaker("queue", o.Publisher.Ping, m.breaker("queue"), log, changed)
	opened := func() { r.cursor.rewind(); r.waker.Wake() }
	r.parts = newQueueOutages(o.Publisher.PingQueue, m.unusable, log, opened)
	if len(o.MaxQueue) > 0 {
		r.bounds = newBounds(o.Lengths, o.MaxQueue, m.full, log, opened)
	}
	r.database = newBreaker("database", o.Database, m.breaker("database"), log, func() {})
	for range o.Concurrency {
		r.pollers = append(r.pollers, &poller{Relay: r})
	}
	return r
}

// Actors returns the actors of the relay. With Listen they include the listener, and with MaxQueue the watch of the
// queues' bounds. Each actor may fail and be restarted while the others continue.
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
	for _, p := range r.pollers {
		actors = append(actors, Actor{"poller", p.run})
	}
	return actors
}

// Wake is called in the same process after an event was committed. Wake wakes the relay
// without a notification through the database. Wake never blocks.
func (r *Relay) Wake() { r.waker.Wake() }

// Hears reports whether the relay receives notifications of the database, which means that LISTEN works.
func (r *Relay) Hears() bool { return r.waker.Hears() }

// QueueReachable returns nil, or why the breaker has stopped publishing to Redis.
func (r *Relay) QueueReachable() error { return r.queue.fault() }

// QueueUsable returns nil, or why the relay cannot publish to Redis. A successful probe is not enough for nil,
// because Redis may answer and still refuse all tasks.
func (r *Relay) QueueUsable() error { return r.queue.outageCause() }

// DatabaseUsable returns nil, or why the relay cannot work with the database. A database that answers may still be
// unusable, for example a standby, or a server with a full disk.
func (r *Relay) DatabaseUsable() error { return r.database.outageCause() }
