package setup

import (
	"context"
	"strings"
	"time"

	"outboxd/domain"
)

// The headers of an event that a schedule emitted: the schedule's name, and the time of the tick in RFC 3339.
const (
	HeaderSchedule = "outboxd-schedule"
	HeaderTick     = "outboxd-tick"
)

// MissedRule says what happens to missed ticks. Ticks may be missed while the schedule is paused or its ticks fail,
// while no relay is the leader, and while the database cannot be reached.
type MissedRule string

// The rules.
const (
	MissedSkip MissedRule = "skip" // no event
	MissedOnce MissedRule = "once" // one event for all missed ticks: that of the last tick
	MissedAll  MissedRule = "all"  // one event for each missed tick, but only for the last MissedAllAtMost
)

// MissedAllAtMost is the largest number of missed ticks for which MissedAll emits events.
const MissedAllAtMost = 1000

// MissedAfter is how late a tick may be emitted before it counts as missed. A new leader takes over in much less
// time.
const MissedAfter = 2 * time.Minute

// Schedule says which event to emit at which times. The ID, the times and the origin of Event are ignored.
type Schedule struct {
	ID       domain.ID
	Name     string // lower-case letters, digits, '.', '_' and '-'
	Cron     string // five fields, or a word such as @daily
	TimeZone string // of the IANA database
	Missed   MissedRule
	Event    domain.Event

	Paused     *Pause // nil: not paused
	Next, Last time.Time
	Emitted    int64
	LeftOut    int64 // missed ticks without an event; those older than 400 days are not counted
	FailedAt   time.Time
	Error      string // why the tick that is due cannot be emitted
	CreatedAt  time.Time
	ChangedAt  time.Time
}

// State returns active, paused or failing.
func (s *Schedule) State() string {
	switch {
	case s.Paused != nil:
		return "paused"
	case !s.FailedAt.IsZero():
		return "failing"
	default:
		return "active"
	}
}

// WithDefaults returns the schedule with the default for each field that is not set.
func (s Schedule) WithDefaults() Schedule {
	if s.TimeZone == "" {
		s.TimeZone = "UTC"
	}
	if s.Missed == "" {
		s.Missed = MissedOnce
	}
	if s.Event.Queue == "" {
		s.Event.Queue = domain.DefaultQueue
	}
	return s
}

// Validate checks the schedule's name, its rule for missed ticks, and the type and the queue of its event.
// Call WithDefaults first. The error has domain.CodeInvalid, and Fields with every fault.
func (s *Schedule) Validate() error {
	var f faults
	f.checkName(s.Name)
	if s.Missed != MissedSkip && s.Missed != MissedOnce && s.Missed != MissedAll {
		f.add("missed", "must be %s, %s or %s", MissedSkip, MissedOnce, MissedAll)
	}
	if strings.TrimSpace(s.Event.Type) == "" {
		f.add("type", "must be an event type")
	}
	if strings.HasPrefix(s.Event.Queue, SubscriptionQueuePrefix) {
		f.add("queue", "must not be that of a subscription")
	}
	return f.err("schedule", s.Name)
}

// Ticks is the result of one call of Schedules.Tick.
type Ticks struct {
	Emitted, LeftOut int64
	// Next is how long to wait before the next call of Tick. Next is also set with an error, if the database
	// answered afterwards. 0 means that Next is not known.
	Next time.Duration
	// Lateness is how long the oldest tick that could not be emitted has been due. It is 0 if no tick failed.
	Lateness time.Duration
}

// Schedules emits the events of schedules. Its methods are safe for concurrent use, by
// any number of processes.
type Schedules interface {
	// Tick emits the events of the due ticks of up to 1,000 schedules, each schedule in its own transaction. If the
	// events of one schedule cannot be emitted, Tick continues with the other schedules, and returns the errors at the
	// end.
	Tick(ctx context.Context) (Ticks, error)
}
