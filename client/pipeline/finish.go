package pipeline

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// finisher sends the scripts that end tasks' runs. Those that come while others are
// on their way go together in the next pipeline; one that comes alone goes at once.
// It is safe for concurrent use.
type finisher struct {
	redis redis.UniversalClient

	mu      sync.Mutex
	waiting []*ending
	sending bool
}

// ending is one such script.
type ending struct {
	script string // its hash, or its text
	whole  bool   // it is the text
	keys   []string
	args   []any
	answer *redis.Cmd
	turn   chan bool // whoever waits: it has its answer, or (true) is to send the next ones
}

// pipeBytes is about how much goes in one pipeline at most: each has to be written
// within the client's write timeout.
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

// run sends a script and waits for its answer until a time, or for as long as it
// takes if that is zero.
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

// leave stops waiting for an answer: Asynq's time for it is over.
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

// sendNext sends what waits, and lets another one send what came meanwhile.
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
		e.turn <- false // the sender's own too, which nobody reads
	}
}

// passOn lets the first that waits send.
func (f *finisher) passOn() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting) == 0 {
		f.waiting, f.sending = nil, false
		return
	}
	f.waiting[0].turn <- true
}

// How often, and after which pauses, a script is repeated that got no answer, as
// go-redis repeats a command: 100 ms at first, doubled, with jitter.
const (
	repeats     = 3
	repeatAfter = 100 * time.Millisecond
)

// sendAll gives each script its answer. Those that got none are sent again, and only
// those: each of them begins by looking whether the task still runs.
func sendAll(client redis.UniversalClient, batch []*ending) {
	ctx := context.Background()
	for n := 0; len(batch) > 0; n++ {
		pipe := client.Pipeline()
		for _, e := range batch {
			if e.whole {
				e.answer = pipe.Eval(ctx, e.script, e.keys, e.args...)
			} else {
				e.answer = pipe.EvalSha(ctx, e.script, e.keys, e.args...)
			}
		}
		send(ctx, pipe)
		var again []*ending
		for _, e := range batch {
			if mayPass(e.answer.Err()) {
				again = append(again, e)
			} else if e.answer.Err() == nil && e.answer.Val() != "OK" {
				e.answer.SetErr(UnexpectedReply{To: "a script that ends a task's run", Reply: e.answer.Val()})
			}
		}
		if n == repeats {
			return
		}
		if batch = again; len(batch) > 0 {
			pause := repeatAfter << n
			time.Sleep(pause/2 + rand.N(pause))
		}
	}
}

// endOf returns until when to wait for the end of a run: until its lease ends. Asynq
// repeats what failed in a context that it has cancelled.
func endOf(ctx context.Context) time.Time {
	until, bounded := ctx.Deadline()
	if !bounded {
		return time.Time{}
	}
	return until
}
