// Package relay moves committed events from the outbox to the queue: N pollers
// claim, publish and commit; a waker tells them when there may be work; a
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

// Options are the dependencies and the tuning of a Relay. All but Healing,
// Archives and the bounds are required.
type Options struct {
	Store        domain.EventStore
	Publisher    domain.Publisher
	Presence     domain.Presence
	Housekeeping domain.Housekeeping
	// Unfinished says of an event that the store does not have any more whether
	// the queue has it. nil: such an event keeps its ordering key's turn.
	Unfinished domain.UnfinishedTasks
	// Cancelled deletes the tasks of cancelled events. nil: they stay until a worker
	// takes them, and have no effect.
	Cancelled domain.TaskRemover
	// Unconfirmed are the types of events that no consumer confirms.
	Unconfirmed []string
	// Healing is what a queue's loss of data is noticed and mended by. nil, as
	// for a queue that is emptied on purpose, lets it go unnoticed.
	Healing *Healing
	// Acknowledging confirms what consumers with another database acknowledged.
	// nil: nobody does.
	Acknowledging *Acknowledging
	// Archives finds the tasks that the queue archived. nil: no search.
	Archives *Archives
	// Reconciliation is what a loss of single tasks is noticed and mended by,
	// beside Healing. nil lets it go unnoticed.
	Reconciliation *Reconciliation
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

	History        time.Duration // how long sent events are remembered
	InboxRetention time.Duration // how long confirmations are; at least History

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
	failing  *failing
	healer   *healer // nil: none
	parts    *queueOutages
	bounds   *bounds     // nil: none
	single   *reconciler // nil: none
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
	r := &Relay{o: o, log: log, metrics: m, failing: newFailing(o, log)}
	r.waker = newWaker(o, log, func() bool { return r.queue.fault() != nil })
	changed := r.waker.reconsider
	if o.Healing != nil {
		r.healer = newHealer(o, log, m, r.failing, func() bool { return r.queue.fault() != nil })
		// A queue that is back may have lost something while it was away.
		changed = func() { r.waker.reconsider(); raise(r.healer.look) }
		if o.Reconciliation != nil {
			r.single = newReconciler(o, log, m, r.healer)
		}
	}
	r.queue = newBreaker("queue", o.Publisher.Ping, m.breaker("queue"), log, changed)
	opened := func() { r.cursor.rewind(); r.waker.wake() }
	r.parts = newQueueOutages(o.Publisher.PingQueue, o.Registry, log, opened)
	if len(o.MaxQueue) > 0 {
		r.bounds = newBounds(o.Lengths, o.MaxQueue, m.full, log, opened)
	}
	r.database = newBreaker("database", o.Database, m.breaker("database"), log, func() {})
	return r
}

// Actors returns the pollers, the two halves of the waker, and the housekeeper. They are
// independent: each may fail and be started again while the others run.
func (r *Relay) Actors() []Actor {
	actors := []Actor{
		{"presence", r.waker.show},
		{"queue outages", r.parts.run},
		{"housekeeper", (&housekeeper{o: r.o, log: r.log, metrics: r.metrics, failing: r.failing, healer: r.healer, single: r.single}).run},
	}
	if r.o.Listen {
		actors = append(actors, Actor{"listener", r.waker.listen})
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
func (r *Relay) Wake() { r.waker.wake() }

// QueueReachable returns nil, or why the relay has stopped publishing.
func (r *Relay) QueueReachable() error { return r.queue.fault() }

// QueueUsable returns nil, or why the relay cannot publish, also while a probe has
// just succeeded: a queue may answer, and let nobody enqueue.
func (r *Relay) QueueUsable() error { return r.queue.outageCause() }

// DatabaseUsable returns nil, or why the relay cannot work with the database,
// which may well answer: a standby does, and a server whose disk is full.
func (r *Relay) DatabaseUsable() error { return r.database.outageCause() }
