package diagnosis

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"outboxd/domain"
	"outboxd/domain/setup"
	"outboxd/domain/words"
)

// QueueFacts say whether workers serve the queues that have tasks of this outbox.
type QueueFacts struct {
	Workers  int
	Unserved []UnservedQueue // tasks wait in them, and no worker serves them
	Paused   []string
	// Unhandled are tasks for whose type a worker had no handler.
	Unhandled []UnhandledTask
	// Handled are the task types for which outboxd's own worker has a handler. The value is the command-line flag
	// that the worker needs for the type; "" means that it needs none.
	Handled map[string]string
	// Hidden names what outboxd's Redis user may not read; "" means nothing.
	Hidden string
	// Foreign are queues in which all sampled tasks belong to other programs.
	Foreign []string
	// Forbidden are queues whose keys outboxd's Redis user may not use.
	Forbidden []string
}

// UnservedQueue is a queue that no worker serves.
type UnservedQueue struct {
	Name   string
	Tasks  int64
	Oldest time.Duration // how long the oldest pending task has waited; 0 if none is pending
	Types  []string      // of a sample
	// Removed means that the queue belongs to a subscription that was removed.
	Removed bool
}

// UnhandledTask is a task for whose type a worker had no handler.
type UnhandledTask struct{ Queue, ID, Type string }

// typesNamed is how many types or queues a finding lists; it only counts the others.
const typesNamed = 5

func (q *QueueFacts) judge() []domain.Finding {
	if q == nil {
		return nil
	}
	return slices.Concat(ForbiddenQueues(q.Forbidden), q.unserved(), pausedQueues(q.Paused), q.unhandled(), q.hidden())
}

func (q *QueueFacts) unserved() []domain.Finding {
	var names, queues, cures []string
	for _, w := range q.Unserved {
		wait := words.Many(w.Tasks, "task")
		if w.Oldest > 0 {
			wait += ", the oldest pending for " + words.Duration(w.Oldest.Truncate(time.Second))
		}
		names, queues = append(names, fmt.Sprintf("%s (%s)", w.Name, wait)), append(queues, w.Name)
		cures = append(cures, w.cure(q.Handled))
	}
	if len(names) == 0 {
		return nil
	}
	workers := words.Many(q.Workers, "worker") + words.Plural(q.Workers, " runs", " run")
	found := of(codeUnserved, "no worker serves "+strings.Join(names, ", ")+"; "+workers,
		"these tasks wait for ever, and so do events behind them with the same ordering key", strings.Join(cures, "; "))
	found[0].Queues = queues
	return found
}

// cure returns the remedy for a queue without a worker: how to start one. outboxd's own worker has handlers for
// few types.
func (w UnservedQueue) cure(handled map[string]string) string {
	if name, delivery := setup.SubscriptionOfQueue(w.Name); delivery && w.Removed {
		return fmt.Sprintf("the subscription was removed: outboxd events cancel --queue=%s takes back what Redis does not have yet, and outboxd subscriptions apply makes %s anew, which delivers the others", w.Name, name)
	} else if delivery {
		return "start outboxd --roles=worker, which delivers to all subscriptions"
	}
	var others, flags []string
	for _, kind := range w.Types {
		if flag, known := handled[kind]; !known {
			others = append(others, fmt.Sprintf("%.100q", kind))
		} else if flag != "" && !slices.Contains(flags, " "+flag) {
			flags = append(flags, " "+flag)
		}
	}
	if len(others) == 0 {
		return fmt.Sprintf("start outboxd --roles=worker%s --worker-queues=%s=1", strings.Join(flags, ""), w.Name)
	}
	return fmt.Sprintf("start the worker that handles %s, and let it serve the queue %s: outboxd's own has no handler for that",
		some(others, "other type"), w.Name)
}

// some writes a list for a finding: the first few entries, and the number of the others.
func some(list []string, others string) string {
	if more := len(list) - typesNamed; more > 0 {
		list = append(slices.Clone(list[:typesNamed]), words.Many(more, others))
	}
	return strings.Join(list, ", ")
}

// ForbiddenQueues returns the finding for queues whose keys outboxd's Redis user may not use.
func ForbiddenQueues(queues []string) []domain.Finding {
	if len(queues) == 0 {
		return nil
	}
	names := make([]string, len(queues))
	for i, queue := range queues {
		names[i] = fmt.Sprintf("%.100q", queue)
	}
	return of("redis-queue-rights", "Redis does not let its user use the keys of "+some(names, "other queue"),
		"the events of these queues wait in the outbox, and no attempt is charged to them; other queues go on",
		"redis-cli ACL SETUSER NAME '~asynq:*' gives what outboxd and Asynq need; ACL LOG names what was refused")
}

// The codes of findings about queues of which the quick facts know more than the slower checks. Both have codePaused.
const (
	codePaused    = "queue-paused"
	codeUnserved  = "queue-unserved"
	codeUnhandled = "type-unhandled"
)

func pausedQueues(names []string) []domain.Finding {
	if len(names) == 0 {
		return nil
	}
	return of(codePaused, words.Plural(len(names), "queue ", "queues ")+strings.Join(names, ", ")+words.Plural(len(names), " is", " are")+" paused",
		words.Plural(len(names), "its tasks wait until it is resumed", "their tasks wait until they are resumed"),
		"outboxd queues resume NAME, or the page Queues, lets a queue go on; outboxd queues show NAME says who paused it, and why; outboxd events emit TYPE --queue OTHER tries a mended handler before that, with one event in another queue")
}

// LostPause is a queue whose pause is on record and that is not paused.
type LostPause struct {
	Queue string
	setup.Pause
}

// judgeLostPauses names who paused the queues, because that person has to decide what comes next.
func judgeLostPauses(lost []LostPause) []domain.Finding {
	if len(lost) == 0 {
		return nil
	}
	said := make([]string, len(lost))
	for n, l := range lost {
		said[n] = fmt.Sprintf("%s, which %s paused at %s", l.Queue, l.By, l.Since.UTC().Format(time.DateTime+" UTC"))
		if l.Reason != "" {
			said[n] += " (" + l.Reason + ")"
		}
	}
	return of("queue-pause-lost", "Redis has no pause any more of queue "+some(said, "other queue"),
		"workers take the tasks of "+words.Plural(len(said), "this queue", "these queues")+": Redis lost the pause, or somebody resumed the queue without outboxd",
		"outboxd queues pause NAME pauses it again; outboxd queues resume NAME records that it may go on")
}

func (q *QueueFacts) unhandled() []domain.Finding {
	if len(q.Unhandled) == 0 {
		return nil
	}
	types, queues := make([]string, len(q.Unhandled)), make([]string, len(q.Unhandled))
	for n, task := range q.Unhandled {
		queues[n] = task.Queue
		types[n] = fmt.Sprintf("%.100q (queue %s)", task.Type, task.Queue)
	}
	slices.Sort(types)
	found := of(codeUnhandled, "a worker has no handler for tasks of type "+some(slices.Compact(types), "other type"),
		"they wait at the head of their queue, or go back to it again and again until their attempts are used up, and events behind them with the same ordering key wait",
		"start a worker that knows the type, and let workers that do not know it serve other queues; to give a task up, archive it in Asynqmon (with the admin token) and then discard its dead letter")
	found[0].Queues = queues
	return found
}

func (q *QueueFacts) hidden() []domain.Finding {
	if q.Hidden == "" {
		return nil
	}
	return of("redis-queues-hidden", "Redis does not let this user read "+q.Hidden,
		"queues that no worker serves, and paused queues cannot be seen from here",
		"let its user run Asynq's commands on the keys asynq:*")
}
