package jobs

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// standoff is what a worker knows of a queue whose head is of a type that it has
// no handler for.
type standoff struct {
	head  string // the task's ID; "": the head is no such task
	since time.Time
	again time.Time // the next look
	looks int       // in a row that found nothing to take
	from  int64     // where the next look at what is behind the head begins; the head is 1
	named map[string]bool
	told  bool // that nobody takes the head
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
		s.told = true
		t.log.Warn("a task stands at the head of a queue, this worker has no handler for its type, and no other worker takes it: start one that does, or serve other queues with this one",
			"queue", queue, "task_type", kind, "task_id", head, "for", now.Sub(s.since).Round(time.Second))
		t.markLeft(ctx, s, queue)
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

// leftKey is a hash of queues to the task that nobody takes from its head.
const leftKey = "asynq:{outboxd}:left"

// leftKept is longer than anybody needs to look, and so short that a queue that
// is gone is forgotten.
const leftKept = 7 * 24 * time.Hour

// markLeft lets others know, which see the queue but not what its workers can do.
func (t *taker) markLeft(ctx context.Context, s *standoff, queue string) {
	_, err := t.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.HSet(ctx, leftKey, queue, fmt.Sprintf("%d %s", s.since.Unix(), s.head))
		pipe.Expire(ctx, leftKey, leftKept)
		return nil
	})
	if err != nil {
		s.told = false // and so again with the next look
	}
}

// parseLeft reads an entry of leftKey.
func parseLeft(entry string) (since time.Time, head string, ok bool) {
	seconds, head, found := strings.Cut(entry, " ")
	unix, err := strconv.ParseInt(seconds, 10, 64)
	return time.Unix(unix, 0), head, found && err == nil
}
