package domain

import (
	"context"
	"time"
)

// Flow is how many events passed each step in a span of time.
type Flow struct {
	Seconds   float64 // of the span; 0: nothing was measured
	Emitted   int64
	Enqueued  int64
	Confirmed int64
	Died      int64
}

// Rate returns n for each second that was measured.
func (f Flow) Rate(n int64) float64 {
	if f.Seconds <= 0 {
		return 0
	}
	return float64(n) / f.Seconds
}

// StandingCounted is how far a Standing counts each kind of event.
const StandingCounted = 50_000

// Standing is where the events are at one moment, and which relays move them.
type Standing struct {
	Backlog
	At time.Time // by the database's clock, as all times here

	Due        int64     // pending events that are due, counted up to StandingCounted
	OldestDead time.Time // when the oldest dead letter died; zero if there is none

	Now, Hour, Day Flow      // in the last half minute, hour and day
	SampledAt      time.Time // of the newest sample; zero: none within a day
	Relays         []RelayStatus
	// HealedAt is when everything unconfirmed was last sent again because Redis had
	// lost data; zero: never.
	HealedAt time.Time
	// QueuedNow is the least number of tasks that waited in Redis within the last five
	// minutes, and QueuedBefore the most within the five minutes that ended ten minutes
	// ago. Negative: not known.
	QueuedNow, QueuedBefore int64
	// Receivers has the receivers to which nothing is delivered at present.
	Receivers []ReceiverStatus
}

// ReceiverStatus is the reason why nothing is delivered to the receiver of a
// subscription: it is down, or its subscription is paused or was removed.
type ReceiverStatus struct {
	Subscription    string
	Paused, Removed bool
	Down            *ReceiverDown // nil: not known to be down
}

// RelayStatus is one relay process and its last sign of life.
type RelayStatus struct {
	RelayProcess
	Asleep            bool // waits for events
	Leads             bool // is the leader
	StartedAt, SeenAt time.Time
}

// HistoryPoint is the measurements of one step of Overviews.History.
type HistoryPoint struct {
	At time.Time // when the step begins
	Flow
	Pending, Held, Dead int64         // the most in the step
	OldestDue           time.Duration // the longest in the step
	Queued              int64         // the most tasks that waited in Redis; negative: not known
	// The delays from the time in an event's ID to its handler: the mean of the
	// medians, and the largest of the 99th percentiles. Negative: nothing was
	// confirmed.
	DelayP50, DelayP99 time.Duration
}

// Overviews reads what the database knows about all events together, without
// counting them all. Its methods change nothing and take at most two seconds.
//
// Errors: CodeUnavailable if the database cannot be reached or takes longer.
type Overviews interface {
	// Standing looks at where the events are.
	Standing(ctx context.Context) (Standing, error)

	// History returns the measurements of the last window, at most a day, in
	// steps, oldest first. It leaves out steps without a measurement.
	History(ctx context.Context, window, step time.Duration) ([]HistoryPoint, error)
}

// QueueStatus is how many tasks are in one queue, by state.
type QueueStatus struct {
	Name                                        string
	Pending, Active, Scheduled, Retry, Archived int64
	// OldestAt is when the oldest pending or failed task began to wait; zero if none
	// waits, or if it is not known. Only some of the failed tasks are looked at.
	OldestAt time.Time
}

// Unfinished returns how many tasks have not ended.
func (q QueueStatus) Unfinished() int64 { return q.Pending + q.Active + q.Scheduled + q.Retry }

// WorkerStatus is one worker process.
type WorkerStatus struct {
	Host        string
	PID         int
	StartedAt   time.Time
	Concurrency int
	Busy        int // tasks that it works on
	Stopping    bool
}

// QueueOverviews reads what the queue knows about its tasks and workers. Its
// methods change nothing and are safe for concurrent use. Errors: CodeUnavailable.
type QueueOverviews interface {
	// Queues returns all queues, in the order of their names.
	Queues(ctx context.Context) ([]QueueStatus, error)

	// Workers returns the worker processes that gave a sign of life in the last
	// seconds.
	Workers(ctx context.Context) ([]WorkerStatus, error)
}
