package pipeline

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"outboxd/client/redisreply"
)

// queue is what a taker knows about one of its queues.
type queue struct {
	name   string
	weight int
	lost
	dry   bool      // the last request took all the tasks that were pending
	more  bool      // the last request ended before it had seen all pending tasks, and took none
	again time.Time // earliest time of the next request, after one without an answer or with a head of an unknown type
	head  string    // the ID of the head, if it is of an unknown type
	known string    // the ID of a head whose type turned out to be known
	since time.Time // when the head was seen first
	looks int       // requests in a row that found nothing to take
	from  int64     // position at which the next search behind the head begins; the head has position 1
	named map[string]bool
	told  bool // the watcher has been told that no worker takes the head
}

// typesNamed bounds how many types of one queue a Watcher learns of.
const typesNamed = 100

// leftAfter is how long a task of another type has to be at the head of its queue
// before the taker assumes that no worker takes it.
const leftAfter = 30 * time.Second

// askAgain is the average pause after a request for tasks of a queue got no answer. If no queue has
// tasks, a ring of the bell ends the pause.
const askAgain = 500 * time.Millisecond

// fail is called when a request for tasks got no answer, or one that cannot be read.
// The receipt is kept unless the request certainly took nothing. A server that is away for
// long would otherwise push out the receipts of requests that did take tasks.
//
// The next request would probably get such an answer again, and each request extends the leases of the tasks that it
// finds. So the receipt of a request with such an answer is kept only as long as the oldest one. Then the leases end,
// and Asynq recovers the tasks.
func (q *queue) fail(receipt string, asked time.Time, err error) {
	if _, unreadable := errors.AsType[redisreply.Unexpected](err); unreadable && len(q.lost) > 0 {
		asked = slices.MinFunc(q.lost, func(a, b lostQuestion) int { return a.asked.Compare(b.asked) }).asked
	}
	if !tookNothing(err) {
		q.lose(receipt, asked)
	}
	q.more = false
	q.rest()
}

func (q *queue) rest() { q.again = time.Now().Add(askAgain/2 + rand.N(askAgain)) }

// standBack pauses requests to the queue, because the task at its head is of a type
// that this worker does not handle. Each request then reads the next window of
// tasks behind the head, and starts again from the beginning after the last one.
func (q *queue) standBack(r takeReply, kind string, watcher Watcher) {
	now := time.Now()
	if q.head != r.head {
		q.head, q.since, q.looks, q.told = r.head, now, 0, false
		watcher.Blocked(q.name, true)
	}
	if q.from += r.window; r.window < windowTasks {
		q.from = firstBehind
	}
	q.again = now.Add(pauseAfter(q.looks))
	q.looks++
	if !q.named[kind] && len(q.named) < typesNamed {
		q.named[kind] = true
		watcher.Unknown(q.name, kind)
	}
	if !q.told && now.Sub(q.since) >= leftAfter {
		q.told = watcher.Left(q.name, kind, q.head, q.since)
	}
}

// over is called when a request has found no task of an unknown type at the queue's head.
func (q *queue) over(watcher Watcher) {
	if q.head == "" {
		return
	}
	q.head, q.looks, q.from, q.told, q.again = "", 0, firstBehind, false, time.Time{}
	watcher.Blocked(q.name, false)
}

// firstBehind is the position of the first task behind the head of a queue.
const firstBehind = 2

// pauseAfter returns the pause before the next request, given how many requests in
// a row found nothing to take.
func pauseAfter(looks int) time.Duration {
	const first, most = 10 * time.Millisecond, 500 * time.Millisecond
	pause := most
	if looks < 6 {
		pause = min(first<<looks, most)
	}
	return pause/2 + rand.N(pause)
}

// How long, and how many, receipts of unanswered requests are kept. A receipt is kept only while the tasks with that
// receipt certainly belong to this worker. Asynq recovers a task 30 s after the end of its lease, and a plain Asynq
// worker that then runs the task leaves the receipt on it.
const (
	lostFor  = leaseTime + 25*time.Second
	lostMost = 16
)

// lost has the receipts of unanswered requests to one queue, the oldest first. A lost answer may contain taken
// tasks. The next request finds them by the receipt of the unanswered one.
type lost []lostQuestion

type lostQuestion struct {
	receipt string
	asked   time.Time // a moment before the request was sent
}

func (l *lost) lose(receipt string, asked time.Time) {
	if *l = append(*l, lostQuestion{receipt, asked}); len(*l) > lostMost {
		*l = (*l)[1:]
	}
}

// unanswered returns the receipts as one text, separated by spaces; "" if there are
// none.
func (l *lost) unanswered() string {
	*l = slices.DeleteFunc(*l, func(q lostQuestion) bool { return time.Since(q.asked) > lostFor })
	receipts := make([]string, len(*l))
	for i, q := range *l {
		receipts[i] = q.receipt
	}
	return strings.Join(receipts, " ")
}
