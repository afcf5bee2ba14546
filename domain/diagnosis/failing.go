package diagnosis

import (
	"fmt"
	"slices"
	"strings"

	"outboxd/domain"
	"outboxd/domain/overview"
	"outboxd/domain/queued"
	"outboxd/domain/setup"
	"outboxd/domain/words"
)

const (
	// failingNamed is how many groups of failing tasks a finding lists.
	failingNamed = 3
	// errorNamed is how many characters of an error text a finding quotes.
	errorNamed = 120
	// fewLeft is the largest number of attempts left that a finding calls few. outboxd's worker waits less than a
	// minute in all between the first five attempts of a task.
	fewLeft = 5
)

// judgeFailing reports the failing tasks by type, with one of their errors as an example. Queues of paused or removed
// subscriptions and of other programs do not count.
func (q Quick) judgeFailing(failing int64, rests map[string]bool) []domain.Finding {
	if failing == 0 {
		return nil
	}
	groups := slices.DeleteFunc(slices.Clone(q.Failing.Groups), func(g queued.FailingGroup) bool {
		return rests[g.Queue] || slices.Contains(q.Foreign, g.Queue)
	})
	var unhandled int64
	paused := q.paused()
	var named, urgent []string
	for _, g := range groups {
		left := ""
		if g.Left > 0 && g.Left <= fewLeft && !g.Unhandled {
			left = ", some with " + words.Many(int64(g.Left), "attempt") + " left"
			// Deliveries have a pause of their own.
			_, delivery := setup.SubscriptionOfQueue(g.Queue)
			if !delivery && !slices.Contains(urgent, g.Queue) && !slices.Contains(paused, g.Queue) {
				urgent = append(urgent, g.Queue)
			}
		}
		said := fmt.Sprintf("%s of type %.100q (queue %s)%s, such as: %s", words.Count(g.Tasks), g.Type, g.Queue, left, words.Cut(g.Error, errorNamed))
		if g.Unhandled {
			unhandled += g.Tasks
			said = fmt.Sprintf("%s of type %.100q (queue %s) without a handler", words.Count(g.Tasks), g.Type, g.Queue)
		}
		named = append(named, said)
	}
	text := howManyFail(failing, min(unhandled, failing))
	if len(named) > 0 {
		text += ": " + strings.Join(named[:min(len(named), failingNamed)], "; ")
		if more := len(named) - failingNamed; more > 0 {
			text += "; and " + words.Many(more, "other error")
		}
	}
	return Of("tasks-failing", text,
		words.Plural(failing, "its effect is late, and its event dies", "their effects are late, and their events die")+" when the attempts are used up",
		pauseFirst(urgent)+"mend the cause, which outboxd events list --state failing names; the next attempt comes by itself, and outboxd events retry makes it now; "+
			"if a repeat would do harm, compare first (docs/guides/runbook/events.md, Repeats)")
}

// pauseFirst is the first step while events of some queues have few attempts left.
func pauseFirst(queues []string) string {
	if len(queues) == 0 {
		return ""
	}
	return "pause first, because few attempts are left: outboxd queues pause " + strings.Join(queues[:min(len(queues), failingNamed)], " ") + " --yes (the other queues need a pause only while you look for repeats); then "
}

// howManyFail counts tasks without a handler separately, because their cause and remedy are different.
func howManyFail(failing, unhandled int64) string {
	failed := failing - unhandled
	tried := words.Plural(failed, " has failed and is", " have failed and are") + " tried again later"
	switch {
	case unhandled == 0:
		return words.Many(failed, "task") + tried
	case failed == 0:
		return words.Many(unhandled, "task") + words.Plural(unhandled, " has", " have") + " no handler"
	default:
		return words.Many(unhandled, "task") + words.Plural(unhandled, " has", " have") + " no handler; " + words.Count(failed) + tried
	}
}

// judgeArchived reports archived tasks, unless all are settled (see Quick.Settled). It counts the settled ones too,
// as the column ARCHIVED of outboxd top does.
func judgeArchived(archived, settled int64) []domain.Finding {
	if archived == settled {
		return nil
	}
	text := words.Many(archived, "task") + words.Plural(archived, " is", " are") + " archived in Redis"
	which := "their"
	if settled > 0 {
		text += "; the events of " + words.Count(settled) + " of them are settled, for example replayed or discarded"
		which = "the other"
	}
	return Of("tasks-archived", text,
		"no worker takes them; the leader makes dead letters of "+which+" events within a minute, and the leader deletes the tasks of discarded events, and Asynq the others after 90 days",
		"none is needed: outboxd dead list shows the events, and replaying one makes a new task; this note ends when each was replayed or discarded")
}

// judgeGrowth reports a backlog in Redis that grows. If Redis answers, and fewer than BacklogLarge tasks wait in
// queues from which workers take tasks, it reports nothing: more workers would not help. Other findings name queues
// without a worker, and paused ones.
func (q Quick) judgeGrowth() []domain.Finding {
	const clearly = 1.1 // more than chance
	s := q.Standing
	if s.QueuedBefore < 0 || s.QueuedNow < BacklogLarge || float64(s.QueuedNow) < clearly*float64(s.QueuedBefore) ||
		q.RedisErr == nil && q.waitInServedQueues() < BacklogLarge {
		return nil
	}
	return Of("backlog-growing", fmt.Sprintf("%s in Redis; 10 minutes ago there were %s", words.Many(s.QueuedNow, "task")+words.Plural(s.QueuedNow, " waits", " wait"), words.Count(s.QueuedBefore)),
		"workers take fewer tasks than the relay enqueues, so each event takes effect later than the one before",
		"outboxd top says which queue grows; start more workers for it, or raise their --worker-concurrency")
}

// waitInServedQueues counts the tasks that wait in queues from which workers take tasks.
func (q Quick) waitInServedQueues() (tasks int64) {
	rests := resting(q.Standing.Receivers)
	for _, queue := range q.Ours() {
		serves := func(w overview.WorkerStatus) bool { _, served := w.Queues[queue.Name]; return served }
		if queue.PausedAt.IsZero() && !rests[queue.Name] && slices.ContainsFunc(q.Workers, serves) {
			tasks += queue.Pending + queue.Retry
		}
	}
	return tasks
}
