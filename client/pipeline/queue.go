package pipeline

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// queue is what a taker knows of one of its queues.
type queue struct {
	name   string
	weight int
	lost
	dry   bool      // the last question took all that there was
	again time.Time // the next question, where the last one got no answer or the head is another's
	head  string    // the ID of the head, if it is of an unknown type
	known string    // the ID of a head whose type was read, and is known
	since time.Time // when it was seen first
	looks int       // in a row that found nothing to take
	from  int64     // where the next look at what is behind the head begins; the head is 1
	named map[string]bool
	told  bool // that no worker takes the head
}

// typesNamed bounds the types of one queue that a Watcher is told of.
const typesNamed = 100

// leftAfter is how long a task must be at the head of its queue until it
// counts as one that no worker takes.
const leftAfter = 30 * time.Second

// askAgain is how long, on average, a queue is left alone whose last question got no
// answer, unless the bell rings.
const askAgain = 500 * time.Millisecond

// fail notes a question without an answer.
func (q *queue) fail(receipt string, asked time.Time) {
	q.lose(receipt, asked)
	q.rest()
}

func (q *queue) rest() { q.again = time.Now().Add(askAgain/2 + rand.N(askAgain)) }

// standBack leaves the queue alone for a while, because its head is of a type that
// is not known here. What stands behind the head is looked at window after window,
// and then from the beginning.
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

// over notes that the task at the queue's head is no longer one for another
// worker.
func (q *queue) over(watcher Watcher) {
	if q.head == "" {
		return
	}
	q.head, q.looks, q.from, q.told, q.again = "", 0, firstBehind, false, time.Time{}
	watcher.Blocked(q.name, false)
}

// firstBehind is where what stands behind the head begins.
const firstBehind = 2

// pauseAfter returns how long a queue is left alone after so many looks in a row
// that found nothing to take.
func pauseAfter(looks int) time.Duration {
	const first, most = 10 * time.Millisecond, 500 * time.Millisecond
	pause := most
	if looks < 6 {
		pause = min(first<<looks, most)
	}
	return pause/2 + rand.N(pause)
}

// The receipt of a question without an answer is kept while its tasks are surely this
// worker's, within bounds: Asynq takes back a task whose lease has been over for 30 s,
// and another worker that runs it then may leave the receipt on it.
const (
	lostFor  = leaseTime + 25*time.Second
	lostMost = 16
)

// lost are the receipts of questions without an answer, of one queue, the oldest
// first.
type lost []lostQuestion

type lostQuestion struct {
	receipt string
	asked   time.Time // before it was sent
}

func (l *lost) lose(receipt string, asked time.Time) {
	if *l = append(*l, lostQuestion{receipt, asked}); len(*l) > lostMost {
		*l = (*l)[1:]
	}
}

// unanswered returns the receipts in one text; "" if there is none.
func (l *lost) unanswered() string {
	*l = slices.DeleteFunc(*l, func(q lostQuestion) bool { return time.Since(q.asked) > lostFor })
	receipts := make([]string, len(*l))
	for i, q := range *l {
		receipts[i] = q.receipt
	}
	return strings.Join(receipts, " ")
}
