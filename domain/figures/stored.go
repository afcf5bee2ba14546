package figures

import (
	"context"
	"time"

	"outboxd/domain/overview"
	"outboxd/domain/setup"
)

// The windows of Stored.
const (
	Recent = 5 * time.Minute
	Long   = time.Hour
)

// Passed counts what happened to events within a window of time: how many were
// confirmed, failed or died, and with which delays.
type Passed struct {
	Confirmed, Failed int64
	// In Stored.Hour, Died is at least the number of dead letters that died within the hour, including the time since
	// the last measurement. If Cut.Dead is set, some may be missing.
	Died int64
	// P50 and P99 are the delays from the time in an event's ID to its handler: the mean
	// of the minutes' medians, weighted by the confirmed events, and the largest of their
	// 99th percentiles. Negative: nothing was confirmed.
	P50, P99 time.Duration
}

// unmeasured is how much of a window may be missing before its figures count as those of a shorter time. A change of
// the leader leaves such a gap.
const unmeasured = 90 * time.Second

// Measurement says which time the figures of the windows cover. Both windows end with the last measurement.
type Measurement struct {
	// MeasuredUntil is the end of the last measurement; zero: nothing was measured within the last hour.
	MeasuredUntil time.Time
	// RecentMeasured and HourMeasured are how much of each window was measured.
	RecentMeasured, HourMeasured time.Duration
}

// RecentSpan returns the time that the figures of the window Recent cover. It is shorter than the window if less was
// measured, for example because outboxd is new.
func (m Measurement) RecentSpan() time.Duration {
	return overview.Span(m.RecentMeasured, Recent, unmeasured)
}

// HourSpan is RecentSpan for the window Long.
func (m Measurement) HourSpan() time.Duration { return overview.Span(m.HourMeasured, Long, unmeasured) }

// Stored has the database's figures of the events of one type in one queue.
type Stored struct {
	Type, Queue         string
	Recent, Hour        Passed
	Pending, Held, Dead int64
	OldestDue           time.Time // when the oldest due event that was read became due; zero: none
}

// Snapshot has the database's figures of all types and queues at one moment.
type Snapshot struct {
	At time.Time // by the database's clock
	// Pairs has each pair of type and queue that has a waiting or dead event, or an event that was measured within
	// the last hour.
	Pairs []Stored
	// Emitted counts the events of the present UTC day by type, for the 1,000 types with the most.
	Emitted map[string]int64
	Measurement
	// Cut says which numbers are lower bounds.
	Cut Cut
}

// Cut says which numbers of a Snapshot are lower bounds. A Snapshot counts at most Counted events of each state, and
// at most Counted rows of outbox_entries, which the leader has not added up yet. It has at most 1,000 Pairs.
type Cut struct{ Pending, Held, Dead, Emitted, Pairs bool }

// Complete reports whether all events that wait or are dead are counted.
func (c Cut) Complete() bool { return !c.Pending && !c.Held && !c.Dead && !c.Pairs }

// Counted is how many events of each state (pending, held, dead) a Snapshot counts at most.
const Counted = 50_000

// Point is the measurements of one step of a history.
type Point struct {
	At      time.Time // when the step begins
	Seconds float64
	// Estimated says that Confirmed is an estimate, because the leader looked only at a random part of the events of a
	// busy minute. Even a 0 may be an estimate.
	Estimated bool
	Passed
	// Queued is the largest number of tasks of the queue that waited in Redis; negative: not known.
	Queued int64
}

// Store reads figures. Its methods change nothing and are safe for concurrent use.
// A query of Snapshot or History to a server takes at most two seconds. Errors:
// domain.CodeUnavailable.
type Store interface {
	// Snapshot looks at all types and queues.
	Snapshot(ctx context.Context) (Snapshot, error)

	// History returns the measurements of a type, or of a queue, or of a type in a queue, over the last window, at most
	// a day, in steps, oldest first. The first step is whole, so it may begin before the window. For a queue without a
	// type, each Point also has the tasks that waited.
	History(ctx context.Context, eventType, queue string, window, step time.Duration) ([]Point, error)

	// Pauses returns up to 1,000 pauses of queues that are on record: who paused which queue,
	// and why, unless the queue was resumed later. Redis alone says which queues are paused.
	Pauses(ctx context.Context) (map[string]setup.Pause, error)
}
