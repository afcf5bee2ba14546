package thorough

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"outboxd/domain"
	"outboxd/domain/diagnosis"
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

func (q *QueueFacts) judge() []domain.Finding {
	if q == nil {
		return nil
	}
	return slices.Concat(diagnosis.ForbiddenQueues(q.Forbidden), q.unserved(), diagnosis.PausedQueues(q.Paused), q.unhandled(), q.hidden())
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
	found := diagnosis.Of(diagnosis.CodeUnserved, "no worker serves "+strings.Join(names, ", ")+"; "+workers,
		"these tasks wait for ever, and so do events behind them with the same ordering key",
		strings.Join(cures, "; ")+"; if its last tasks sent mails or requests, look for repeats first (docs/guides/runbook/events.md, Repeats)")
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
		diagnosis.Some(others, "other type"), w.Name)
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
	found := diagnosis.Of(diagnosis.CodeUnhandled, "a worker has no handler for tasks of type "+diagnosis.Some(slices.Compact(types), "other type"),
		"they wait at the head of their queue, or go back to it again and again until their attempts are used up, and events behind them with the same ordering key wait",
		"start a worker that knows the type, and let workers that do not know it serve other queues; to give a task up, archive it in Asynqmon (with the admin token) and then discard its dead letter")
	found[0].Queues = queues
	return found
}

func (q *QueueFacts) hidden() []domain.Finding {
	if q.Hidden == "" {
		return nil
	}
	return diagnosis.Of("redis-queues-hidden", "Redis does not let this user read "+q.Hidden,
		"queues that no worker serves, and paused queues cannot be seen from here",
		"let its user run Asynq's commands on the keys asynq:*")
}
