// Package overview has the numbers of the whole system that pages, commands and metrics show: the flow of events,
// the backlog, queues, workers, relays and receivers. It reads nothing itself.
package overview

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"outboxd/domain"
	"outboxd/domain/queued"
	"outboxd/domain/setup"
)

// Flow counts what happened to events within a span of time: how many were emitted, enqueued, confirmed and given
// up.
type Flow struct {
	Seconds   float64 // of the span; 0: nothing was measured
	Emitted   int64
	Enqueued  int64
	Confirmed int64
	Died      int64
}

// Rate returns n divided by the measured seconds; 0 if nothing was measured.
func (f Flow) Rate(n int64) float64 {
	if f.Seconds <= 0 {
		return 0
	}
	return float64(n) / f.Seconds
}

// Span returns the time that the figures of a window cover. The parameter measured is how much of the window was
// measured, and late how much is usually not measured yet. Span returns the window if no more than late is missing, or
// if nothing was measured. Otherwise it returns measured, cut to whole minutes, or to whole seconds below a minute.
func Span(measured, window, late time.Duration) time.Duration {
	switch {
	case measured <= 0, measured+late >= window:
		return window
	case measured < time.Minute:
		return max(measured.Truncate(time.Second), time.Second)
	default:
		return measured.Truncate(time.Minute)
	}
}

// hourLate is how much of the last hour may be missing from the leader's samples before figures count as those of a
// shorter time. The leader takes a sample every ten seconds.
const hourLate = time.Minute

// HourSpan returns the time that a Flow of the last hour covers. It is shorter than an hour if less was measured.
func (f Flow) HourSpan() time.Duration {
	return Span(time.Duration(f.Seconds*float64(time.Second)), time.Hour, hourLate)
}

// StandingCounted is the number up to which a Standing counts events of one kind.
const StandingCounted = 50_000

// ConfirmedLate is how much later than emitted events confirmed ones are counted. The time of a confirmation is the
// start of the handler's transaction, but the database shows the confirmation only after that transaction's commit. If
// the transaction lasts longer than five seconds, the time is that of the commit.
const ConfirmedLate = 10 * time.Second

// Standing says how many events are in which state at one moment, and which relays run.
type Standing struct {
	domain.Backlog
	At time.Time // by the database's clock, as all times here

	Due        int64     // pending events that are due, counted up to StandingCounted
	OldestDead time.Time // when the oldest dead letter died; zero if there is none

	Now, Hour, Day Flow      // in the last half minute, hour and day
	SampledAt      time.Time // of the newest sample; zero: none within a day
	// EmittedUntil and ConfirmedUntil are the times up to which Day counts, if there is a sample.
	EmittedUntil, ConfirmedUntil time.Time
	Relays                       []RelayStatus
	// Heals is how often within the last hour outboxd sent unconfirmed events again, because Redis may have lost data,
	// or because PostgreSQL went back to an earlier state. LastHeals has the last of these heals, the latest first, up
	// to HealsNamed.
	Heals     int64
	LastHeals []Heal
	// QueuedNow is the smallest number of tasks that waited in Redis within the last five minutes. QueuedBefore is
	// the largest number between 15 and 10 minutes ago. A negative number means that it is not known.
	QueuedNow, QueuedBefore int64
	// Receivers are the receivers to which workers deliver nothing at present.
	Receivers []ReceiverStatus
}

// DeadCut reports whether there may be more dead letters than Dead.
func (s Standing) DeadCut() bool { return s.Dead >= StandingCounted }

// HeldEstimated reports whether Held is an estimate.
func (s Standing) HeldEstimated() bool { return s.Held >= StandingCounted }

// HealsNamed is how many heals a Standing has at most.
const HealsNamed = 3

// Heal is one time when unconfirmed events were sent again.
type Heal struct {
	At     time.Time
	Reason string // what happened to Redis or PostgreSQL
}

// ReceiverStatus says why workers deliver nothing to the receiver of a subscription: the receiver is down, or the
// subscription is paused or was removed.
type ReceiverStatus struct {
	Subscription    string
	Paused, Removed bool
	Down            *setup.ReceiverDown // nil: not known to be down
}

// RelayStatus is one relay process and its last sign of life.
type RelayStatus struct {
	domain.RelayProcess
	Asleep            bool // producers have to notify it
	Leads             bool // is the leader
	StartedAt, SeenAt time.Time
}

// HistoryPoint has the measurements of one time step of Overviews.History.
type HistoryPoint struct {
	At time.Time // when the step begins
	Flow
	Pending, Held, Dead int64         // the most in the step
	OldestDue           time.Duration // the longest in the step
	Queued              int64         // the most tasks that waited in Redis; negative: not known
	// The delays from the time in an event's ID (its emission) to the start of the transaction that confirms it.
	// The samples of the step each have a median and a 99th percentile: DelayP50 is the mean of the medians,
	// DelayP99 the largest 99th percentile. Negative means that no event was confirmed.
	DelayP50, DelayP99 time.Duration
}

// The kinds of a HistoryMark.
const (
	MarkLeader  = "leader"  // another relay became the leader
	MarkHeal    = "heal"    // unconfirmed events were sent again, because Redis or PostgreSQL may have lost data
	MarkVersion = "version" // a relay started that has another version than the one that started before
)

// HistoryMark is something that explains a bend in the history.
type HistoryMark struct {
	At   time.Time
	Kind string
	// Detail of a leader is its host, process and version; "": not known any more. Detail of a heal is its reason,
	// that of a version the version.
	Detail string
}

// Overviews reads figures about all events from the database, without counting every event. Its methods change
// nothing. A query to a server takes at most two seconds.
//
// Errors: domain.CodeUnavailable if the database cannot be reached or takes longer.
type Overviews interface {
	// Standing reads the Standing of this moment.
	Standing(ctx context.Context) (Standing, error)

	// History returns the measurements of the window of time that ends now, at most a week long, divided into steps,
	// oldest first. History leaves out steps without a measurement.
	History(ctx context.Context, window, step time.Duration) ([]HistoryPoint, error)

	// HistoryBetween is History for the time between the two given times, by the clock of the database.
	HistoryBetween(ctx context.Context, from, until time.Time, step time.Duration) ([]HistoryPoint, error)

	// Marks returns up to 50 marks of the last window, the latest first.
	Marks(ctx context.Context, window time.Duration) ([]HistoryMark, error)
}

// QueueStatus is how many tasks are in one queue, by state.
type QueueStatus struct {
	Name                                        string
	Pending, Active, Scheduled, Retry, Archived int64
	// OldestAt is when the oldest pending or failed task began to wait. Of a failed task, that is the time in its
	// event's ID, and only a sample of the failed tasks is read. OldestAt is zero if no task waits, or if the time is
	// not known.
	OldestAt time.Time
	// PausedAt is when the queue was paused; zero: it is not paused.
	PausedAt time.Time
	// Processed and Failed count the attempts of the present UTC day; the failed ones
	// are among the processed.
	Processed, Failed int64
}

// Unfinished returns how many tasks have not ended.
func (q QueueStatus) Unfinished() int64 { return q.Pending + q.Active + q.Scheduled + q.Retry }

// WorkerStatus describes one worker: one Asynq server. A process may have several workers.
type WorkerStatus struct {
	Host        string
	PID         int
	StartedAt   time.Time
	Concurrency int
	Busy        int // tasks that it works on
	Stopping    bool
	Own         bool           // it is outboxd's own worker
	Version     string         // of its program; "": not known
	Queues      map[string]int // the queues that it serves, with their weights
	Strict      bool           // the weights are priorities
	// Tasks are the tasks that the worker is working on, the one that began first at the top, up to
	// WorkerTasksShown.
	Tasks []WorkingTask
}

// WorkerTasksShown is how many tasks a WorkerStatus names at most.
const WorkerTasksShown = 100

// WorkingTask is a task that a worker carries out.
type WorkingTask struct {
	queued.TaskRef
	Type     string
	Since    time.Time
	Deadline time.Time // by which it must be done; zero: none
}

// QueueOverviews reads figures about tasks and workers from Redis. Its methods change nothing and are safe for
// concurrent use. Errors: domain.CodeUnavailable.
type QueueOverviews interface {
	// Queues returns all queues, in the order of their names. It leaves out the queues whose keys Redis does not let
	// outboxd use.
	Queues(ctx context.Context) ([]QueueStatus, error)

	// Paused returns those of the queues that are paused, in the given order. Redis need not know a queue: after a
	// loss of its data it knows none until somebody enqueues a task.
	Paused(ctx context.Context, queues []string) ([]string, error)

	// Workers returns the workers whose last sign of life in Redis is at most 10 s old.
	Workers(ctx context.Context) ([]WorkerStatus, error)
}

// QueueWeights writes the queues of a worker with their weights, the heaviest first:
// "notifications 6, default 1".
func QueueWeights(queues map[string]int) string {
	names := slices.SortedFunc(maps.Keys(queues), func(a, b string) int { return cmp.Or(cmp.Compare(queues[b], queues[a]), cmp.Compare(a, b)) })
	for i, name := range names {
		names[i] = name + " " + strconv.Itoa(queues[name])
	}
	return strings.Join(names, ", ")
}
