package work

import (
	"context"
	"time"

	"outboxd/jobs/broker"
)

// standoff is what a worker knows of a queue whose head is of a type that it has
// no handler for, or whose last questions got no answer.
type standoff struct {
	lost
	head  string // the task's ID; "": the head is no such task
	since time.Time
	again time.Time // the next look
	looks int       // in a row that found nothing to take
	from  int64     // where the next look at what is behind the head begins; the head is 1
	named map[string]bool
	told  bool // that no worker takes the head
}

// typesNamed bounds the types of one queue that the log names.
const typesNamed = 100

// leftAfter is how long a task has to stand at the head until it counts as one
// that nobody takes.
const leftAfter = 30 * time.Second

// standBack leaves a queue alone for a while. What stands behind the head is
// looked at window after window, and then from the beginning.
func (t *taker) standBack(ctx context.Context, s *standoff, queue, head, kind string, window int64) {
	now := time.Now()
	if s.head != head {
		s.head, s.since, s.looks, s.told = head, now, 0, false
		t.blocked.WithLabelValues(queue).Set(1)
	}
	if s.from += window; window < windowTasks {
		s.from = 2
	}
	s.again = now.Add(pauseAfter(s.looks))
	s.looks++
	if s.named == nil {
		s.named = map[string]bool{}
	}
	if !s.named[kind] && len(s.named) < typesNamed {
		s.named[kind] = true
		t.log.Info("tasks of a type without a handler stay in the queue, for a worker that has one", "queue", queue, "task_type", kind)
	}
	if !s.told && now.Sub(s.since) >= leftAfter {
		t.log.Warn("a task stands at the head of a queue, this worker has no handler for its type, and no other worker takes it: start one that does, or serve other queues with this one",
			"queue", queue, "task_type", kind, "task_id", head, "for", now.Sub(s.since).Round(time.Second))
		// Where it could not be noted it is with the next look.
		s.told = broker.MarkLeft(ctx, t.redis, queue, head, s.since) == nil
	}
}

// over notes that the queue's head is none of another's tasks any more.
func (t *taker) over(s *standoff, queue string) {
	if s.head == "" {
		return
	}
	s.head, s.looks, s.from, s.told, s.again = "", 0, 2, false, time.Time{}
	t.blocked.WithLabelValues(queue).Set(0)
}
