package diagnosis

import (
	"slices"
	"strings"
	"time"

	"outboxd/domain"
	"outboxd/domain/overview"
	"outboxd/domain/queued"
	"outboxd/domain/words"
)

// Quick has the facts that are cheap to read: how many events are in which state, and which relays and workers run.
type Quick struct {
	At      time.Time // by this process's clock
	Process Process

	// Standing is PostgreSQL's answer. If PostgresErr is set, PostgreSQL did not answer, or refused to.
	Standing    overview.Standing
	PostgresErr error

	// Queues, Workers and Failing are Redis's answer. If RedisErr is set, Redis did not answer, or refused to.
	Queues   []overview.QueueStatus
	Workers  []overview.WorkerStatus
	Failing  queued.FailingSummary // without groups if this process does not group failing tasks
	RedisErr error
	// Settled counts, by queue, the archived tasks that need no attention: their events have no dead letter,
	// because they took effect or a person dealt with them.
	Settled map[string]int64
	// Loss says why Redis may have lost data since the leader last looked; "" if there is no sign of a loss.
	Loss string
	// LostPauses are pauses on record that Redis does not have.
	LostPauses []LostPause

	// Foreign are queues with tasks of other programs only, according to the last of the slower checks.
	Foreign []string
}

// Findings returns the findings about these facts, worst first.
func (q Quick) Findings() []domain.Finding {
	var found []domain.Finding
	switch {
	case q.PostgresErr == nil:
		found = append(found, judgeStanding(q.Standing)...)
		found = append(found, q.judgeGrowth()...)
	case domain.ErrorCode(q.PostgresErr) == domain.CodeInternal:
		found = append(found, Of("events-hidden", "outboxd may not read where the events are and which relays run",
			"a missing relay, late events and dead letters cannot be seen from here",
			"let this role read outboxd's tables, as deploy/postgres/grants.sql does for outboxd_monitor; the log says what PostgreSQL refused")...)
	default:
		found = append(found, Unusable(PostgreSQL, q.PostgresErr))
	}
	if q.RedisErr != nil {
		found = append(found, Unusable(Redis, q.RedisErr))
	} else {
		found = append(found, q.judgeTasks()...)
	}
	if q.PostgresErr == nil {
		found = append(found, judgeDead(q.Standing)...) // after the failing tasks, whose cause has to be mended first
	}
	found = append(found, q.Process.judge(map[string]bool{PostgreSQL: q.PostgresErr == nil, Redis: q.RedisErr == nil})...)
	domain.SortFindings(found)
	return found
}

// judgeStanding returns the findings about relays and their leader, late events, receivers that are down, and heals.
func judgeStanding(s overview.Standing) (found []domain.Finding) {
	var alive []overview.RelayStatus
	for _, r := range s.Relays {
		if s.At.Sub(r.SeenAt) < RelayGone {
			alive = append(alive, r)
		}
	}
	if len(alive) == 0 {
		found = append(found, Of("no-relay", "no relay has given a sign of life for "+words.Duration(RelayGone),
			"events are kept, and wait until one runs", "outboxd --roles=relay")...)
	} else if unkept := s.At.Sub(latest(s.SampledAt, began(alive))); unkept > LeaderAbsence {
		found = append(found, Of("leader-absent", "relays run, but none has led for "+words.Duration(unkept),
			"losses in Redis go unnoticed, nothing is trimmed, held events may stay held, and charts have a gap",
			"look for \"cannot lead\" and \"could not measure\" in the relays' logs; restart the relay that led last")...)
	}
	if late := Late(s); late > EventsLate {
		found = append(found, Of("events-late", "the oldest due event has been due for "+words.Duration(late),
			"consumers are that far behind",
			"look at /readyz of the relays; if they are ready and outboxd_relay_queue_full is 0, they cannot keep up: raise --relay-concurrency")...)
	}
	found = append(found, receiversDown(s)...)
	return append(found, judgeHeal(s)...)
}

func judgeDead(s overview.Standing) []domain.Finding {
	if s.Dead == 0 {
		return nil
	}
	many := words.Many(s.Dead, "dead letter")
	if s.DeadCut() {
		many = words.Count(s.Dead) + " or more dead letters"
	}
	if !s.OldestDead.IsZero() {
		many += ", the oldest of " + words.Ago(s.At, s.OldestDead)
	}
	if s.Hour.Died > 0 {
		many += "; " + words.Many(s.Hour.Died, "event") + " died in the last hour"
	}
	return Of("dead-letters", many,
		"their effects will not happen; one with an ordering key may hold back all later events of its key",
		"mend the cause; outboxd dead group names it, and when they died; then outboxd dead replay --type TYPE --since 1h --canary 5, or outboxd dead discard --type TYPE --since 1h; without --since both take all of the type")
}

// Late returns how long the oldest due event has been due.
func Late(s overview.Standing) time.Duration {
	if s.OldestDue.IsZero() {
		return 0
	}
	return max(s.At.Sub(s.OldestDue), 0)
}

// began returns the start time of the relay that has run longest.
func began(relays []overview.RelayStatus) time.Time {
	first := relays[0].StartedAt
	for _, r := range relays {
		if r.StartedAt.Before(first) {
			first = r.StartedAt
		}
	}
	return first
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// judgeTasks reports a missing worker, paused queues, failing and archived tasks, and a loss of data in Redis. If
// Redis has no queue, no task waits, and a missing worker is no problem.
func (q Quick) judgeTasks() (found []domain.Finding) {
	var unfinished, failing, archived, settled int64
	rests := resting(q.Standing.Receivers)
	for _, queue := range q.Ours() {
		if rests[queue.Name] {
			continue
		}
		unfinished += queue.Unfinished()
		failing += queue.Retry
		archived += queue.Archived
		settled += min(q.Settled[queue.Name], queue.Archived)
	}
	switch {
	case len(q.Workers) > 0 || len(q.Queues) == 0:
	case unfinished > 0:
		found = append(found, At(domain.FindingBroken, "no-worker", "no worker is running, and "+words.Many(unfinished, "task")+words.Plural(unfinished, " waits", " wait")+" in Redis",
			"these tasks wait for ever, and so do events behind them with the same ordering key",
			"start one: outboxd --roles=worker, or your own")...)
	default:
		found = append(found, At(domain.FindingWarning, "no-worker", "no worker is running",
			"the next task waits in Redis", "start one: outboxd --roles=worker, or your own")...)
	}
	found = append(found, PausedQueues(q.paused())...)
	found = append(found, judgeLostPauses(q.LostPauses)...)
	found = append(found, q.judgeFailing(failing, rests)...)
	found = append(found, judgeLoss(q.Loss)...)
	return append(found, judgeArchived(archived, settled)...)
}

func (q Quick) paused() (names []string) {
	for _, queue := range q.Ours() {
		if !queue.PausedAt.IsZero() {
			names = append(names, queue.Name)
		}
	}
	return names
}

// Ours returns the queues without those that only other programs use.
func (q Quick) Ours() []overview.QueueStatus {
	return slices.DeleteFunc(slices.Clone(q.Queues), func(queue overview.QueueStatus) bool { return slices.Contains(q.Foreign, queue.Name) })
}

// Waiting says how many events and tasks wait, and how long the oldest of them has waited.
type Waiting struct {
	// Events wait in PostgreSQL, for a relay or for the turn of their ordering key. Tasks wait in Redis, for a worker
	// or for a retry. Events and tasks that are scheduled for later do not count, except that an estimate of the events
	// may include some.
	Events, Tasks           int64
	EventsKnown, TasksKnown bool
	Estimated               bool // Events is an estimate, because there are too many to count
	Oldest                  time.Duration
}

// Waiting counts the events that wait in PostgreSQL and the tasks that wait in Redis.
func (q Quick) Waiting() Waiting {
	w := Waiting{EventsKnown: q.PostgresErr == nil, TasksKnown: q.RedisErr == nil}
	if w.EventsKnown {
		s := q.Standing
		due, manyDue := s.Due, s.Due >= overview.StandingCounted
		if manyDue {
			due = max(due, s.Pending) // an estimate, which includes events that are not due
		}
		w.Events, w.Estimated, w.Oldest = due+s.Held, manyDue || s.HeldEstimated(), Late(s)
		if !s.OldestHeld.IsZero() {
			w.Oldest = max(w.Oldest, s.At.Sub(s.OldestHeld))
		}
	}
	if w.TasksKnown {
		for _, queue := range q.Ours() {
			w.Tasks += queue.Pending + queue.Retry
			if !queue.OldestAt.IsZero() {
				w.Oldest = max(w.Oldest, q.At.Sub(queue.OldestAt))
			}
		}
	}
	return w
}

// String returns the counts in words: "45,854 tasks wait, the oldest 12 min".
func (w Waiting) String() string { return w.say(words.Count[int64]) }

// Coarse returns the same words as String with rounded numbers, which change seldom: "about 45,000 tasks wait, the
// oldest 12 min".
func (w Waiting) Coarse() string { return w.say(roughly) }

func (w Waiting) say(count func(int64) string) string {
	if !w.EventsKnown && !w.TasksKnown {
		return "the backlog is unknown"
	}
	var parts []string
	add := func(n int64, what string, estimated bool) {
		if n == 0 {
			return
		}
		many := count(n)
		if estimated && !strings.HasPrefix(many, about) {
			many = about + many
		}
		parts = append(parts, many+" "+words.Plural(n, what, what+"s"))
	}
	add(w.Events, "event", w.Estimated)
	add(w.Tasks, "task", false)
	var said string
	switch len(parts) {
	case 0:
		said = "nothing waits"
	case 1:
		said = parts[0] + words.Plural(w.Events+w.Tasks, " waits", " wait")
	default:
		said = parts[0] + " and " + parts[1] + " wait"
	}
	if len(parts) > 0 && w.Oldest > 0 {
		said += ", the oldest " + words.Rough(w.Oldest)
	}
	switch {
	case !w.EventsKnown:
		said += " in Redis; the backlog in PostgreSQL is unknown"
	case !w.TasksKnown:
		said += " in PostgreSQL; the backlog in Redis is unknown"
	}
	return said
}

// about precedes a number that is not exact.
const about = "about "

// exactBelow is the number below which a coarse count is exact.
const exactBelow = 20

// roughly rounds a number so that it is at most a tenth away from the exact one: 27 is about 25, 124 about 120.
func roughly(n int64) string {
	if n < exactBelow {
		return words.Count(n)
	}
	step := int64(1)
	for n/step >= 10 {
		step *= 10
	}
	switch {
	case 2*n < 5*step:
		step /= 5
	case n < 5*step:
		step /= 2
	}
	return about + words.Count((n+step/2)/step*step)
}
