package figures

import (
	"time"

	"outboxd/domain/overview"
	"outboxd/domain/setup"
)

// View has the figures of all event types, or of all queues, as a page shows them.
type View[L Line] struct {
	Seen
	Lines []L // the ones with the most to do come first
}

// Line has the figures of one name: of an event type or of a queue.
type Line interface {
	Type | Queue
	name() string
	unseen() bool
}

// Named returns the line of that name; nil if there is none.
func (v *View[L]) Named(name string) *L {
	for i := range v.Lines {
		if v.Lines[i].name() == name {
			return &v.Lines[i]
		}
	}
	return nil
}

// Unseen returns Sum.Unseen of the line of that name; false if there is none.
func (v *View[L]) Unseen(name string) bool {
	line := v.Named(name)
	return line != nil && (*line).unseen()
}

// Seen says when figures were read, and what could not be read.
type Seen struct {
	At time.Time
	Measurement
	// StoreErr and QueuesErr say why a server's figures are missing; nil: they are
	// there.
	StoreErr, QueuesErr error
	Cut                 Cut  // as in Snapshot
	Estimated           bool // as in queued.FailingSummary
}

// StoreKnown reports whether the figures of PostgreSQL are there.
func (s Seen) StoreKnown() bool { return s.StoreErr == nil }

// QueuesKnown reports whether the figures of Redis are there.
func (s Seen) QueuesKnown() bool { return s.QueuesErr == nil }

// Rates are the rates of a line, in events a second; negative: not measured.
type Rates struct{ Recent, Hour float64 }

// Sum has the database's figures of a type in all its queues, or of a queue with all
// its types.
type Sum struct {
	Recent, Hour        Passed
	Confirmed           Rates
	Pending, Held, Dead int64     // events in PostgreSQL
	OldestDue           time.Time // zero: none is due
	// Unseen says that workers of other programs try some of these events. They do not tell outboxd which attempts
	// fail, so the numbers of failed attempts are not known.
	Unseen bool
}

// Measured reports whether anything was measured within the last hour. Otherwise Recent
// and Hour are not known.
func (s *Sum) Measured() bool { return s.Confirmed.Hour >= 0 }

// FailedKnown reports whether the number of failed attempts of the last hour is known.
func (s *Sum) FailedKnown() bool { return s.Measured() && !s.Unseen }

func (s *Sum) add(p *Stored) {
	s.Recent.add(&p.Recent)
	s.Hour.add(&p.Hour)
	s.Pending, s.Held, s.Dead, s.OldestDue = s.Pending+p.Pending, s.Held+p.Held, s.Dead+p.Dead, earlier(s.OldestDue, p.OldestDue)
}

// settle computes the rates and completes the delays. It must follow the last add.
func (s *Sum) settle(of *Snapshot) {
	s.Confirmed = of.rates(&s.Recent, &s.Hour)
	s.Recent.settle()
	s.Hour.settle()
}

// Type is what is known of one event type.
type Type struct {
	Name   string
	Queues []string
	Sum
	Emitted int64 // of the present UTC day
	Failing int64 // events whose tasks in Redis failed and wait to be tried again
}

func (t Type) name() string { return t.Name }
func (t Type) unseen() bool { return t.Unseen }

// Waits returns how many events of the type are known to wait: for a relay, for the
// turn of their ordering key or for another attempt.
func (t *Type) Waits() int64 { return t.Pending + t.Held + t.Failing }

// Queue is what is known of one queue.
type Queue struct {
	Name  string
	Types []string
	Sum
	// Tasks are in Redis.
	Tasks overview.QueueStatus
	// Paused is set while the queue is paused. Its field By is who paused the
	// queue; "" if it was paused without outboxd.
	Paused *setup.Pause
	// LostPause is set if a pause is on record that Redis does not have: Redis lost it, or
	// somebody resumed the queue without outboxd.
	LostPause *setup.Pause
	Workers   int  // Asynq servers that serve the queue; a process may have several
	Foreign   bool // only other programs use it
	Unserved  bool // as in Source
}

func (q Queue) name() string { return q.Name }
func (q Queue) unseen() bool { return q.Unseen }

// Subscription returns the name of the subscription to which the queue belongs; "" if
// it belongs to none.
func (q *Queue) Subscription() string {
	if name, delivery := setup.SubscriptionOfQueue(q.Name); delivery {
		return name
	}
	return ""
}

// Oldest is when the due event or the task that has waited longest began to wait; zero
// if none waits. Held events do not count.
func (q *Queue) Oldest() time.Time {
	if q.OldestDue.IsZero() || !q.Tasks.OldestAt.IsZero() && q.Tasks.OldestAt.Before(q.OldestDue) {
		return q.Tasks.OldestAt
	}
	return q.OldestDue
}

// Waits is how many events and tasks wait.
func (q *Queue) Waits() int64 { return q.Pending + q.Held + q.Tasks.Pending + q.Tasks.Retry }
