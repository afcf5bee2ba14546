package lives

import (
	"fmt"
	"slices"
	"time"

	"outboxd/domain"
	"outboxd/domain/queued"
	"outboxd/domain/words"
)

// Step is something that has happened to an event, or will happen next.
type Step struct {
	At     time.Time
	What   string
	Detail string
	// ToTheSecond says that At is cut to whole seconds. Asynq stores these times that way.
	ToTheSecond bool
	// entry is the kind of the step: JournalEntry.Entry of the journal entry that records it, and the empty string for
	// a step from Redis. For any other step, including "enqueued", it equals What.
	entry string
}

// Title says what happened, for people. The field What has the name that the journal
// and JSON use.
func (s *Step) Title() string {
	switch s.What {
	case "available":
		return "due"
	case "redriven (relay)":
		return "sent again: Redis may have lost it"
	case "redriven (person)":
		return "sent again by hand"
	case stepNext:
		return "next attempt"
	case stepCompleted:
		return "completed in Redis"
	default:
		return s.What
	}
}

// LastKnown returns the event with its newest generation. If no table has the event any more, the generation comes
// from the journal.
func (l *Life) LastKnown() *domain.Event {
	event := l.Event
	for _, entry := range l.Journal {
		event.Generation = max(event.Generation, entry.Generation)
	}
	return &event
}

// Retries says how often the event's task is tried again after a failure, and what decides that; "" if no table has the
// event any more.
func (l *Life) Retries() string {
	n := l.Options.MaxRetry
	switch {
	case l.Type == "":
		return ""
	case n == nil:
		return fmt.Sprintf("up to %d: Asynq's default, because the event has no max_retry", domain.AsynqRetries)
	case l.Subscription != "":
		return fmt.Sprintf("up to %d: retry.attempts of the subscription", *n)
	default:
		return fmt.Sprintf("up to %d: max_retry of the event", *n)
	}
}

// Describe returns a sentence with the event's state, and what the event waits for. tasks are its tasks in Redis;
// nil means that Redis was not asked.
func (l *Life) Describe(tasks []queued.TaskState, now time.Time) string {
	switch {
	case l.State == StateDead:
		state := fmt.Sprintf("dead, given up %s; outboxd dead replay sends it again", l.givenUpBy())
		if l.TurnOf == l.ID && l.HeldBehind > 0 {
			state += "; " + l.waitForIt()
		}
		return state
	case l.State == StateConfirmed:
		return "confirmed: it took effect"
	case l.State == StateSuppressed:
		return fmt.Sprintf("suppressed: it is unique (unique_seconds), and %s stands for it", holderName(l.Holder))
	case l.State == StateCancelled:
		return "cancelled " + l.Cancelled + "; it takes no effect"
	case l.State == StateHeld && !l.TurnOf.IsZero():
		return fmt.Sprintf("held: event %s of the same ordering key goes first", l.TurnOf)
	case l.State == StateHeld && l.Replaying:
		return "held: waits for the end of the replay to subscription " + l.Subscription
	case l.State == StateHeld:
		return "held: waits for its ordering key's turn, which is about to be given"
	case l.State == StatePending && l.Available.After(now):
		return "pending: due at " + l.Available.UTC().Format(time.DateTime) + " UTC"
	case l.State == StatePending:
		return "pending: due, waits for a relay"
	case l.State == StateInFlight && l.Split == domain.SplitInstead:
		return "in flight: it has no task of its own; it is confirmed when all of its deliveries have ended"
	case l.StateWith(tasks) == StateFailing:
		failing := tasks[0].Failing()
		said := failing.Describe()
		if l.TurnOf == l.ID && l.HeldBehind > 0 {
			said += "; " + l.waitForIt()
		}
		return said
	case l.State == StateInFlight && len(tasks) > 0:
		return fmt.Sprintf("in flight: handed to Redis, not confirmed yet; its task %s", tasks[0].Describe())
	case l.State == StateInFlight && tasks != nil:
		return "in flight: handed to Redis, not confirmed; its task is not in Redis any more: it is lost, or was done without a confirmation"
	case l.State == StateInFlight:
		return "in flight: handed to Redis and not confirmed"
	case len(l.Journal) > 0 && l.Journal[len(l.Journal)-1].Entry == "discarded":
		return "discarded, " + l.Journal[len(l.Journal)-1].Detail
	default:
		return "no longer kept"
	}
}

// givenUpBy says who gave up the dead event.
func (l *Life) givenUpBy() string {
	if l.Stage != domain.StagePerson {
		return "by the " + string(l.Stage)
	}
	for _, entry := range slices.Backward(l.Journal) {
		if entry.Entry == EntryGivenUp {
			return entry.Detail
		}
	}
	return "by a person"
}

// StateWith returns the event's state in view of its tasks in Redis: if an event in flight has a task that waits
// for a retry, the state is StateFailing.
func (l *Life) StateWith(tasks []queued.TaskState) State {
	if (l.State == StateInFlight || l.State == StateFailing) && len(tasks) > 0 && tasks[0].State == queued.StateRetry {
		return StateFailing
	}
	return l.State
}

// waitForIt says how many events of the ordering key wait for this event.
func (l *Life) waitForIt() string {
	return fmt.Sprintf("%s of key %s %s for it", words.Many(l.HeldBehind, "event"), l.OrderingKey, words.Plural(l.HeldBehind, "waits", "wait"))
}

// holderName returns "event" and the ID if the task belongs to an event, otherwise "task" and the task ID.
func holderName(taskID string) string {
	if id, err := domain.EventID(taskID); err == nil {
		return "event " + id.String()
	}
	return fmt.Sprintf("task %.60q, which is no event's,", taskID)
}

// Timeline returns all known steps of the event in the order of time.
func (l *Life) Timeline(tasks []queued.TaskState) []Step {
	var steps []Step
	step := func(at time.Time, entry, by, detail string) {
		if !at.IsZero() {
			steps = append(steps, Step{At: at, What: entry + by, Detail: detail, entry: entry})
		}
	}
	emitted := l.CreatedAt
	if made, ok := l.ID.Time(); ok && emitted.IsZero() {
		emitted = made
	}
	step(emitted, "emitted", "", l.Type)
	if l.Available.After(emitted) {
		step(l.Available, "available", "", "")
	}
	step(l.HeldAt, "held", "", "for the turn of its ordering key")
	enqueued := func(at time.Time, generation int) {
		task := domain.Event{ID: l.ID, Generation: generation}
		detail := "task " + task.TaskID()
		if l.Queue != "" {
			detail += " in queue " + l.Queue
		}
		step(at, "enqueued", "", detail)
	}
	enqueued(l.SentAt, l.Generation)
	step(l.SuppressedAt, "suppressed", "", "by "+holderName(l.Holder))
	for _, entry := range l.Journal {
		detail := entry.Detail
		if entry.Attempt > 0 {
			detail = fmt.Sprintf("attempt %d: %s", entry.Attempt, detail)
		}
		if entry.SentAt != nil {
			enqueued(*entry.SentAt, entry.sentGeneration())
		}
		step(entry.At, entry.Entry, " ("+string(entry.Stage)+")", detail)
	}
	step(l.ConfirmedAt, "confirmed", "", "")
	slices.SortStableFunc(steps, func(a, b Step) int { return a.At.Compare(b.At) })
	for _, t := range tasks {
		steps = withRedisStep(steps, Step{At: t.CompletedAt, What: stepCompleted, Detail: "task " + t.TaskID})
		steps = withRedisStep(steps, Step{At: t.NextAt, What: stepNext, Detail: "task " + t.TaskID})
	}
	return steps
}

const (
	stepNext      = "next attempt (Redis)"
	stepCompleted = "completed (Redis)"
)

// withRedisStep inserts a step of a task, whose time is cut to whole seconds. Among the steps of the same second the
// time does not decide: the step comes after those that lead to it. So a task is completed after its event was
// confirmed, and before the event is sent again.
func withRedisStep(steps []Step, s Step) []Step {
	if s.At.IsZero() {
		return steps
	}
	s.ToTheSecond = true
	at := 0
	for i, other := range steps {
		same := other.At.Before(s.At.Add(time.Second)) && (s.What != stepCompleted || other.leadsToCompletion())
		if !other.At.After(s.At) || same {
			at = i + 1
		}
	}
	return slices.Insert(steps, at, s)
}

// leadsToCompletion reports whether the step belongs to the attempts of a task, and not to what becomes of the event
// afterwards.
func (s *Step) leadsToCompletion() bool {
	return slices.Contains([]string{"emitted", "available", "held", "enqueued", "refused", "failed", "retried", "delivered", "confirmed"}, s.entry)
}
