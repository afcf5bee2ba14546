package pipeline

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/client/bell"
	"outboxd/client/redisreply"
)

// A taker answers the Asynq server's requests for a task. The server asks from one
// goroutine, for one queue after another, until it gets a task. With strict
// priorities the server asks in the order of the priorities; otherwise in a random
// order for each task.
//
// In one round trip the taker asks about all queues, except those that it pauses, and takes tasks
// from some. It hands these tasks out when the server asks for their queues.
type taker struct {
	ctx     context.Context //nolint:containedctx // Asynq asks with context.Background
	redis   redis.UniversalClient
	queues  []*queue // by weight, the greatest first
	strict  bool
	types   []string // nil: all
	begins  []any    // how the message of each type begins
	watcher Watcher
	gate    Gate // nil: none
	bell    bell.Bell
	every   time.Duration // average time between two polls
	spread  bool          // the queues may be on several servers
	places  *places
	buffer  *buffer

	name  string // unique prefix of this taker's receipts
	asked uint64 // requests so far
	empty bool   // the last look found nothing
	told  map[string]bool
}

// receipt returns a unique name for the next request. The script marks the tasks
// that it takes with this receipt. All receipts have the same length.
func (t *taker) receipt() string {
	t.asked++
	return fmt.Sprintf("%s-%016x", t.name, t.asked)
}

func newTaker(ctx context.Context, o Options, b bell.Bell, p *places) *taker {
	t := &taker{
		ctx: ctx, redis: o.Direct, strict: o.StrictPriority, types: o.Types, watcher: o.Watcher, gate: o.Gate, bell: b, every: o.Every,
		spread: isSpread(o.Direct), places: p, buffer: &buffer{redis: o.Direct}, name: rand.Text(), told: map[string]bool{},
	}
	if o.Types == nil {
		t.begins = append(t.begins, "") // how every message begins
	}
	for _, name := range o.Types {
		t.begins = append(t.begins, string(typeField(name)))
	}
	for name, weight := range o.Queues {
		t.queues = append(t.queues, &queue{name: name, weight: max(weight, 1), from: firstBehind, named: map[string]bool{}})
	}
	slices.SortFunc(t.queues, func(a, b *queue) int { return b.weight - a.weight })
	return t
}

// next returns the message of a task of a queue; "" if there is none.
func (t *taker) next(name string) (message string, err error) {
	if message = t.handOut(name); message != "" {
		return message, nil
	}
	// The answer is "" without a look in two cases: the buffer has tasks of other queues, for which the server asks
	// next; or the last look found no task in any queue, and the server has not yet been told so of this queue.
	if t.buffer.len() > 0 || t.told[name] {
		delete(t.told, name)
		return "", nil
	}
	clear(t.told)
	if t.ended() {
		return "", nil
	}
	if err := t.look(name); err != nil && !t.ended() { // after the end of ctx an error means only that the look was cut short
		return "", err
	}
	if t.empty {
		for _, q := range t.queues {
			t.told[q.name] = q.name != name
		}
	}
	return t.handOut(name), nil
}

func (t *taker) ended() bool { return t.ctx.Err() != nil }

func (t *taker) handOut(name string) string {
	a, there := t.buffer.next(name)
	if !there {
		return ""
	}
	clear(t.told)
	t.places.begin(a.task)
	if t.gate != nil {
		t.gate.Took()
	}
	return a.message
}

// look asks Redis for tasks, and takes at most as many as the server has free worker slots. After an error there may
// be tasks that this look did not find.
func (t *taker) look(asked string) error {
	rang := t.empty && t.await()
	if rang {
		for _, q := range t.queues {
			q.again = time.Time{}
		}
		t.empty = false
	}
	if !t.passes() { // the gate is closed: no queue is asked
		return nil
	}
	open := t.open()
	if len(open) == 0 {
		t.empty = true
		return nil
	}
	if t.empty && !rang {
		if there, err := t.anyPending(open); err != nil || !there {
			return err
		}
	}
	found, err := t.ask(asked, open)
	t.empty = !found && err == nil && !slices.ContainsFunc(open, func(q *queue) bool { return q.more })
	if found {
		return nil
	}
	return err
}

// open returns the queues to which no pause of requests applies at present.
func (t *taker) open() (open []*queue) {
	now := time.Now()
	for _, q := range t.queues {
		if !now.Before(q.again) {
			open = append(open, q)
		}
	}
	return open
}

// await waits until the bell rings or until it is time to poll. await reports
// whether the bell rang. The wait is random, so that several workers poll at
// different times.
//
// The wait must be much shorter than a lease. The server counts a task's lease from
// its own request, which includes this wait. If the lease were over when the task
// is handed out, the task would run, but the server would not report its end to
// Redis.
func (t *taker) await() (rang bool) {
	every := min(t.every, leaseTime/3)
	look := time.NewTimer(every/2 + mathrand.N(every))
	defer look.Stop()
	select {
	case <-t.bell:
		return true
	case <-look.C:
	case <-t.ctx.Done():
	}
	return false
}

// gateLook bounds the wait before the gate is asked again, because the gate may
// open earlier than Pause returned.
const gateLook = 500 * time.Millisecond

// passes reports whether the gate is open. If the gate is closed, it first waits for a while.
func (t *taker) passes() bool {
	if t.gate == nil {
		return true
	}
	pause := t.gate.Pause()
	if pause <= 0 {
		return true
	}
	again := time.NewTimer(min(pause, gateLook))
	defer again.Stop()
	select {
	case <-again.C:
	case <-t.ctx.Done():
	}
	return false
}

// free returns how many tasks may be taken.
func (t *taker) free() int {
	if t.gate != nil {
		return 1 // the gate is asked before each task
	}
	return t.places.free()
}

// anyPending reports whether a task may wait in any of the queues. anyPending also
// returns true if Redis forbids the query, or if a request to one of the queues got
// no answer, because that request may have taken tasks.
func (t *taker) anyPending(open []*queue) (bool, error) {
	if slices.ContainsFunc(open, func(q *queue) bool { return q.unanswered() != "" }) {
		return true, nil
	}
	all := newPipes(t.redis)
	var counts []*redis.IntCmd
	if t.spread {
		for _, q := range open {
			counts = append(counts, all.to(q.name).Exists(t.ctx, pendingKey(q.name)))
		}
	} else {
		keys := make([]string, len(open))
		for i, q := range open {
			keys[i] = pendingKey(q.name)
		}
		counts = append(counts, all.to("").Exists(t.ctx, keys...))
	}
	all.send(t.ctx)
	var failed error
	for i, count := range counts {
		n, err := count.Result()
		switch {
		case err == nil && n == 0:
		case err == nil && n > 0 && n <= int64(len(open)), isForbidden(err):
			return true, nil
		default:
			if failed = err; err == nil {
				failed = redisreply.Unexpected{To: "EXISTS", Reply: n}
			}
			asked := open
			if t.spread {
				asked = open[i : i+1]
			}
			for _, q := range asked {
				q.rest()
			}
		}
	}
	return false, failed
}

// ask requests tasks from Redis: from the queue that the server asks for, and from queues chosen by their weights. If
// these queues have no tasks, it tries the other open queues.
func (t *taker) ask(asked string, open []*queue) (found bool, err error) {
	free := t.free()
	waiting, found, err := t.round(open, t.allot(asked, open, free))
	for !found && len(waiting) > 0 {
		shares := map[*queue]int{waiting[0]: free} // with strict priorities, the queue of the highest priority
		if !t.strict {
			shares = t.allot("", waiting, free)
		}
		rest := waiting[1:]
		var failed error
		if waiting, found, failed = t.round(waiting, shares); err == nil {
			err = failed
		}
		if len(waiting) > len(rest) {
			waiting = rest // each queue is asked once more at most
		}
	}
	return found, err
}

// allot returns how many tasks to take from each queue. With strict priorities all
// tasks come from the first queue. Otherwise the first task comes from the queue
// that the server asks for, and the queues of the further tasks are drawn by weight,
// as Asynq does for each task. A queue that was empty after its last request gets no
// share while other queues may have tasks.
func (t *taker) allot(asked string, open []*queue, free int) map[*queue]int {
	shares := map[*queue]int{}
	if t.strict || len(open) == 1 {
		shares[open[0]] = free
		return shares
	}
	full := slices.DeleteFunc(slices.Clone(open), func(q *queue) bool { return q.dry })
	if len(full) == 0 {
		full = open
	}
	weights := 0
	for _, q := range full {
		weights += q.weight
		if q.name == asked {
			shares[q]++
			free--
		}
	}
	for ; free > 0; free-- {
		draw := mathrand.N(weights)
		for _, q := range full {
			if draw -= q.weight; draw < 0 {
				shares[q]++
				break
			}
		}
	}
	return shares
}

// question is what one round asks one queue: how many tasks to take. A queue with a share is asked for tasks. A queue
// without a share is asked whether it has tasks, and for the tasks of unanswered requests if there are any.
type question struct {
	*queue
	receipt string
	renews  bool // the request has the receipts of unanswered requests
	take    *redis.Cmd
	count   *redis.IntCmd
}

// round requests each queue's share of tasks, in one round trip. It returns the queues that have tasks although none
// was taken from them: they have to be asked again. It also returns whether any task was taken.
func (t *taker) round(open []*queue, shares map[*queue]int) (waiting []*queue, found bool, err error) {
	until := time.Now()
	for _, q := range t.answered(open, shares) {
		again := q.count != nil && q.hasTasks()
		if q.take != nil {
			unknown, taken, failed := t.read(q, shares[q.queue], until)
			if failed != nil && err == nil {
				err = failed
			}
			again, found = again || unknown, found || taken
		}
		if again {
			waiting = append(waiting, q.queue)
		}
	}
	return waiting, found, err
}

// hasTasks reports whether a queue has tasks, from the answer to EXISTS.
func (q question) hasTasks() bool {
	n, err := q.count.Result()
	if err == nil && n == 1 || isForbidden(err) {
		q.dry = false
		return true
	}
	return false
}

// answered sends the requests of a round. If a server does not know the script's hash, answered sends its requests again,
// with the whole script. In a cluster other masters may know the hash and have given out tasks, so their answers must be
// read.
func (t *taker) answered(open []*queue, shares map[*queue]int) []question {
	questions := t.put(open, shares, false)
	var places []int
	var again []*queue
	for i, q := range questions {
		if q.take != nil && isNoScript(q.take.Err()) {
			places, again = append(places, i), append(again, q.queue)
		}
	}
	for i, q := range t.put(again, shares, true) {
		questions[places[i]] = q
	}
	return questions
}

// put sends the requests of a round. If inFull is true, it sends the whole script, because Redis does not know the
// script's hash.
func (t *taker) put(open []*queue, shares map[*queue]int, inFull bool) []question {
	// Do not cancel the requests when the server stops: their answers have to be
	// read, because they may have taken tasks.
	ctx := context.WithoutCancel(t.ctx)
	all, questions := newPipes(t.redis), make([]question, 0, len(open))
	for _, q := range open {
		pipe := all.to(q.name)
		asks, lost := question{queue: q}, q.unanswered()
		if shares[q] == 0 {
			asks.count = pipe.Exists(ctx, pendingKey(q.name))
		}
		if shares[q] == 0 && lost == "" {
			questions = append(questions, asks)
			continue
		}
		asks.receipt, asks.renews = t.receipt(), lost != ""
		args := append([]any{
			time.Now().Add(leaseTime).Unix(), taskPrefix(q.name), q.known, q.from, windowTasks, takeBytes, asks.receipt, lost, shares[q],
		}, t.begins...)
		run := takeScript.EvalSha
		if inFull {
			run = takeScript.Eval
		}
		asks.take = run(ctx, pipe, takingKeys(q.name), args...)
		questions = append(questions, asks)
	}
	all.send(ctx)
	return questions
}

// read processes the answer to a request. The result again says that the queue has to be asked once more.
func (t *taker) read(q question, share int, at time.Time) (again, found bool, err error) {
	reply, err := readTake(q.take, q.receipt)
	if err != nil {
		q.fail(q.receipt, at, err)
		return false, false, err
	}
	for i := range reply.tasks {
		reply.tasks[i].queue, reply.tasks[i].receipt, reply.tasks[i].at = q.name, q.receipt, at
	}
	if len(reply.tasks) > 0 {
		t.buffer.put(reply.tasks)
		q.looks = 0
	}
	if share == 0 { // the request did not ask for pending tasks
		return false, len(reply.tasks) > 0, nil
	}
	if q.more = reply.stopped; q.more {
		q.dry = false
		return true, false, nil
	}
	if len(reply.tasks) == 0 || !q.renews && reply.bytes() < takeBytes {
		q.dry = len(reply.tasks) < share && reply.head == ""
	} // else the script ended before it had seen all pending tasks
	q.known = ""
	if reply.head == "" {
		q.over(t.watcher)
		return false, len(reply.tasks) > 0, nil
	}
	if len(reply.tasks) > 0 {
		return false, true, nil
	}
	kind, readable := TypeOf([]byte(reply.message))
	if readable && slices.Contains(t.types, kind) {
		q.known = reply.head // this message has its type field at another place
		return true, false, nil
	}
	q.standBack(reply, kind, t.watcher)
	return false, false, nil
}

func isNoScript(err error) bool { return redis.HasErrorPrefix(err, noScript) }

func isForbidden(err error) bool {
	_, answered := errors.AsType[redis.Error](err)
	return answered && redis.HasErrorPrefix(err, "NOPERM")
}
