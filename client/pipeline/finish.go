package pipeline

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/client/redisreply"
)

// finisher sends the scripts that finish tasks. It sends a script at once if it is
// sending no other. Scripts that come while it is sending wait, and go together in the
// next pipeline. It is safe for concurrent use.
type finisher struct {
	redis redis.UniversalClient

	mu      sync.Mutex
	waiting []*ending
	sending bool
}

// ending is a call of one of Asynq's scripts that finish a task, with its answer.
type ending struct {
	script string // the script's hash, or its text
	whole  bool   // script is the text
	queue  string
	keys   []string
	args   []any
	answer *redis.Cmd
	turn   chan bool // false: the answer is there; true: the receiver has to send the next scripts
}

// pipeBytes is the approximate size limit of one pipeline, because a pipeline has
// to be written within the client's write timeout.
const pipeBytes = 1 << 20

func (e *ending) size() (bytes int) {
	for _, arg := range e.args {
		switch text := arg.(type) {
		case []byte:
			bytes += len(text)
		case string:
			bytes += len(text)
		}
	}
	return bytes
}

// run sends a script and returns its answer. If another call is sending, this call waits
// at most until the given time (zero: without a limit). A call that sends by itself does
// not look at that time: it is bounded by the client's time limits and the constant
// repeats.
func (f *finisher) run(e *ending, until time.Time) *redis.Cmd {
	e.turn = make(chan bool, 1)
	f.mu.Lock()
	f.waiting = append(f.waiting, e)
	sends := !f.sending
	f.sending = true
	f.mu.Unlock()
	if !sends {
		var over <-chan time.Time
		if !until.IsZero() {
			timer := time.NewTimer(time.Until(until))
			defer timer.Stop()
			over = timer.C
		}
		select {
		case sends = <-e.turn:
		case <-over:
			return f.leave(e)
		}
	}
	if sends {
		f.sendNext()
	}
	return e.answer
}

// leave is called when the time that Asynq gives a script is over, and stops
// waiting for the script's answer.
func (f *finisher) leave(e *ending) *redis.Cmd {
	f.mu.Lock()
	for i, other := range f.waiting {
		if other == e {
			f.waiting = append(f.waiting[:i], f.waiting[i+1:]...)
			break
		}
	}
	f.mu.Unlock()
	select {
	case sends := <-e.turn:
		if sends {
			f.passOn()
		}
	default:
	}
	late := redis.NewCmd(context.Background())
	late.SetErr(context.DeadlineExceeded)
	return late
}

// sendNext sends the first waiting scripts, as many as fit into one pipeline
// (pipeBytes). Then sendNext lets the first caller that still waits send the next ones.
func (f *finisher) sendNext() {
	f.mu.Lock()
	n, bytes := 0, 0
	for n < len(f.waiting) && (n == 0 || bytes < pipeBytes) {
		bytes += f.waiting[n].size()
		n++
	}
	batch := f.waiting[:n:n]
	f.waiting = f.waiting[n:]
	f.mu.Unlock()
	sendAll(f.redis, batch)
	f.passOn()
	for _, e := range batch {
		e.turn <- false // also to the sender itself, which does not read it
	}
}

// passOn wakes the first waiting caller, which then sends the waiting scripts.
func (f *finisher) passOn() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting) == 0 {
		f.waiting, f.sending = nil, false
		return
	}
	f.waiting[0].turn <- true
}

// A script is repeated at most repeats times, which is how often go-redis would repeat a
// command. The first pause before a repeat is about repeatAfter. Each further pause is
// twice as long as the one before, with jitter.
const (
	repeats     = 3
	repeatAfter = 100 * time.Millisecond
)

// sendAll sends the scripts and gives each one its answer. sendAll sends a script
// again if the script got no answer, or an error that may soon pass (see mayPass).
// Repeating is safe, because each script first checks that its task is still active.
func sendAll(client redis.UniversalClient, batch []*ending) {
	ctx := context.Background()
	for n := 0; len(batch) > 0; n++ {
		all := newPipes(client)
		for _, e := range batch {
			pipe := all.to(e.queue)
			if e.whole {
				e.answer = pipe.Eval(ctx, e.script, e.keys, e.args...)
			} else {
				e.answer = pipe.EvalSha(ctx, e.script, e.keys, e.args...)
			}
		}
		all.send(ctx)
		var again []*ending
		for _, e := range batch {
			if mayPass(e.answer.Err()) {
				again = append(again, e)
			} else if e.answer.Err() == nil && e.answer.Val() != "OK" {
				e.answer.SetErr(redisreply.Unexpected{To: "a script that ends a task's run", Reply: e.answer.Val()})
			}
		}
		if n == repeats {
			return
		}
		if batch = again; len(batch) > 0 {
			pause := repeatAfter << n
			<-time.After(pause/2 + rand.N(pause)) // bounded by the constant repeats
		}
	}
}

// endOf returns until when to wait for the script that finishes a task: the end of
// the task's lease, which is the deadline of ctx (zero: there is none). A
// cancellation of ctx does not count, because Asynq repeats a failed script with a
// cancelled context.
func endOf(ctx context.Context) time.Time {
	until, bounded := ctx.Deadline()
	if !bounded {
		return time.Time{}
	}
	return until
}
