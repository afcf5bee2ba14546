package jobs

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/jobs/broker"
)

// sweepPause is Asynq's own pause after it found all queues empty, on average.
// The waiting is done by idle.
const sweepPause = time.Millisecond / 2

// idle is the Redis client of a worker whose queues are empty: it holds Asynq's
// next look back until the bell rings, or until it is time for a look anyway. So
// an idle worker asks Redis little, and still begins a task at once.
//
// Asynq looks into all queues, one after another, from one goroutine.
type idle struct {
	redis.UniversalClient
	ctx    context.Context //nolint:containedctx // Asynq looks with context.Background
	taker  *taker
	bell   bell
	every  time.Duration // between two looks that nobody asked for, on average
	queues int
	empty  int // looks in a row that found nothing
}

// EvalSha is how Asynq takes a task.
func (i *idle) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	if !takesTask(keys) {
		return endRun(ctx, keys, func(ctx context.Context) *redis.Cmd { return i.UniversalClient.EvalSha(ctx, sha, keys, args...) })
	}
	if i.empty >= i.queues {
		i.wait()
	}
	return i.count(i.taker.take(ctx, keys, args))
}

// Eval is how Asynq sends a script that Redis does not know. Asynq's own one for
// taking a task is never sent.
func (i *idle) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	if takesTask(keys) {
		return i.EvalSha(ctx, "", keys, args...)
	}
	return endRun(ctx, keys, func(ctx context.Context) *redis.Cmd { return i.UniversalClient.Eval(ctx, script, keys, args...) })
}

// endRun runs one of Asynq's scripts. Those that end a task's run alone have the keys
// of the active tasks and of the leases: done, completed, to be tried again, archived
// or given back. If one of them fails for good, the task stays active until its lease
// is over, and is then charged an attempt, or archived.
//
// Asynq takes every answer without an error for a yes, where they answer OK alone.
// And it repeats what failed, until the lease ends, in a context that it has
// cancelled.
func endRun(ctx context.Context, keys []string, run func(context.Context) *redis.Cmd) *redis.Cmd {
	if !hasSuffix(keys, ":active") || !hasSuffix(keys, ":lease") {
		return run(ctx)
	}
	if until, bounded := ctx.Deadline(); bounded && ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(context.WithoutCancel(ctx), until)
		defer cancel()
	}
	answer := run(ctx)
	if answer.Err() == nil && answer.Val() != "OK" {
		answer.SetErr(broker.UnexpectedReply{To: "a script that ends a task's run", Reply: answer.Val()})
	}
	return answer
}

func hasSuffix(keys []string, suffix string) bool {
	return slices.ContainsFunc(keys, func(key string) bool { return strings.HasSuffix(key, suffix) })
}

// takesTask tells by its keys whether a script is the one by which Asynq takes a
// task: no other asks whether the queue is paused.
func takesTask(keys []string) bool { return len(keys) == 4 && broker.IsPausedKey(keys[1]) }

func (i *idle) count(answer *redis.Cmd) *redis.Cmd {
	if answer.Err() == redis.Nil { //nolint:errorlint // go-redis returns it as it is
		i.empty++
	} else {
		i.empty = 0
	}
	return answer
}

// wait spreads the looks of several workers.
func (i *idle) wait() {
	i.empty = 0
	look := time.NewTimer(i.every/2 + rand.N(i.every))
	defer look.Stop()
	select {
	case <-i.bell:
		i.taker.lookAgain()
	case <-look.C:
	case <-i.ctx.Done():
	}
}
