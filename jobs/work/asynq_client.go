package work

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/client/bell"
	"outboxd/client/spare"
	"outboxd/jobs/broker"
)

// patient is the Redis client of a worker's Asynq server. It delays Asynq's next
// look while the queues are empty and the bell is silent, and takes tasks with a
// taker.
//
// Asynq looks into all queues, one after another, from one goroutine.
type patient struct {
	redis.UniversalClient
	ctx   context.Context //nolint:containedctx // Asynq looks with context.Background
	taker *taker
	idle  *bell.Idle
	gate  Gate // nil: none
	// spared are tasks that must not be archived.
	spared *spare.Tasks
}

// EvalSha is the call by which Asynq takes a task.
func (p *patient) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	if !bell.TakesTask(keys) {
		return p.endRun(ctx, keys, args, func(ctx context.Context) *redis.Cmd { return p.UniversalClient.EvalSha(ctx, sha, keys, args...) })
	}
	if p.idle.Await(p.ctx) {
		p.taker.lookAgain()
	}
	if p.gate != nil && !p.open() {
		answer := redis.NewCmd(ctx)
		answer.SetErr(redis.Nil)
		return answer
	}
	answer := p.taker.take(ctx, keys, args)
	if p.gate != nil && answer.Err() == nil {
		p.gate.Took()
	}
	p.idle.Note(answer.Err() != redis.Nil) //nolint:errorlint // go-redis returns it as it is
	return answer
}

// gateLook bounds the wait before a gate is asked again: it may open earlier
// than it said.
const gateLook = 500 * time.Millisecond

// open waits a while at a closed gate, and reports whether it is open.
func (p *patient) open() bool {
	pause := p.gate.Pause()
	if pause <= 0 {
		return true
	}
	again := time.NewTimer(min(pause, gateLook))
	defer again.Stop()
	select {
	case <-again.C:
	case <-p.ctx.Done():
	}
	return false
}

// Eval is the call by which Asynq sends a script that Redis does not know.
// Asynq's own script for taking a task is never sent.
func (p *patient) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	if bell.TakesTask(keys) {
		return p.EvalSha(ctx, "", keys, args...)
	}
	return p.endRun(ctx, keys, args, func(ctx context.Context) *redis.Cmd { return p.UniversalClient.Eval(ctx, script, keys, args...) })
}

// endRun runs one of Asynq's scripts. Only the scripts that end a task's run have the
// keys of active tasks and of leases: done, completed, retry, archived or given back.
// If such a script fails for good, the task stays active until its lease ends, and is
// then charged an attempt, or archived.
//
// Asynq takes every answer without an error for success, although these scripts
// answer only OK. And it repeats a failed script until the lease ends, in a
// context that it has cancelled.
func (p *patient) endRun(ctx context.Context, keys []string, args []any, run func(context.Context) *redis.Cmd) *redis.Cmd {
	if !hasSuffix(keys, ":active") || !hasSuffix(keys, ":lease") {
		return run(ctx)
	}
	if until, bounded := ctx.Deadline(); bounded && ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(context.WithoutCancel(ctx), until)
		defer cancel()
	}
	answer := p.spared.Instead(ctx, p.UniversalClient, keys, args)
	if answer == nil {
		answer = run(ctx)
	}
	if answer.Err() == nil && answer.Val() != "OK" {
		answer.SetErr(broker.UnexpectedReply{To: "a script that ends a task's run", Reply: answer.Val()})
	}
	return answer
}

func hasSuffix(keys []string, suffix string) bool {
	return slices.ContainsFunc(keys, func(key string) bool { return strings.HasSuffix(key, suffix) })
}
