package pipeline

import (
	"context"
	"runtime"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/client/bell"
	"outboxd/client/spare"
)

// Options of a Client. All are required unless a comment says otherwise.
type Options struct {
	// Direct is used for taking and finishing tasks, and Redis for all other
	// commands. Both lead to the same Redis. Direct must not repeat a command by
	// itself: a repeat would take other tasks, and the first ones would be lost
	// until their leases end. See the function Direct.
	Redis, Direct redis.UniversalClient
	// Concurrency, Queues and StrictPriority are those of the server's asynq.Config,
	// with its defaults.
	Concurrency    int
	Queues         map[string]int
	StrictPriority bool
	// Every is how often, on average, an idle server looks for tasks that the
	// bell does not announce. 0: a second.
	Every time.Duration
	// Types are the types of tasks to take. Other tasks stay where they are,
	// unchanged, for their own worker. nil: all are taken.
	Types []string
	// Watcher is told of such other tasks at the head of a queue. nil: none.
	Watcher Watcher
	// Gate holds the server back. Tasks are then taken one by one. nil: none.
	Gate Gate
	// Spared has the tasks that must not be archived. nil: none.
	Spared *spare.Tasks
}

// Client is the Redis client of one Asynq server: see asynq.NewServerFromRedisClient.
// Set bell.Pause as the server's TaskCheckInterval, since the Client waits itself.
type Client struct {
	redis.UniversalClient
	taker    *taker
	finisher *finisher
	places   *places
	bell     bell.Bell
	spared   *spare.Tasks
	stop     context.CancelFunc
}

// New returns a Client, which connects when it is first used. When ctx ends, the
// Client takes no more tasks and at once gives back those that it took ahead; Release
// waits for that.
func New(ctx context.Context, o Options) *Client {
	o = completed(o)
	ctx, stop := context.WithCancel(ctx)
	b, p := bell.New(), newPlaces(o.Concurrency)
	c := &Client{
		UniversalClient: o.Redis, finisher: &finisher{redis: o.Direct}, places: p, bell: b, spared: o.Spared, stop: stop,
		taker: newTaker(ctx, o, b, p),
	}
	context.AfterFunc(ctx, c.taker.buffer.close)
	return c
}

// completed sets the same defaults as Asynq for the options that Asynq has too.
func completed(o Options) Options {
	if o.Concurrency < 1 {
		o.Concurrency = runtime.NumCPU()
	}
	queues := map[string]int{}
	for name, weight := range o.Queues {
		if weight > 0 && strings.TrimSpace(name) != "" {
			queues[name] = weight
		}
	}
	if len(queues) == 0 {
		queues["default"] = 1
	}
	o.Queues = queues
	if o.Every <= 0 {
		o.Every = time.Second
	}
	if o.Watcher == nil {
		o.Watcher = nobody{}
	}
	return o
}

// Bell returns the bell that the Client waits for while its queues are empty.
// Call its Listen.
func (c *Client) Bell() bell.Bell { return c.bell }

// Release takes no more tasks. It returns when the tasks taken ahead have gone back
// to their queues. Call it before the server's Shutdown.
func (c *Client) Release() {
	c.stop()
	c.taker.buffer.close()
}

// EvalSha runs one of Asynq's scripts.
func (c *Client) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	switch {
	case takesTask(keys):
		return c.take(ctx, queueOf(keys[0]))
	case endsRun(keys):
		return c.finish(ctx, &ending{script: sha, keys: keys, args: args})
	case forwardsTasks(keys):
		return c.forwarded(c.UniversalClient.EvalSha(ctx, sha, keys, args...))
	default:
		return c.UniversalClient.EvalSha(ctx, sha, keys, args...)
	}
}

// Eval runs one of Asynq's scripts that Redis does not know yet. Asynq's own
// script for taking a task is never sent.
func (c *Client) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	switch {
	case takesTask(keys):
		return c.take(ctx, queueOf(keys[0]))
	case endsRun(keys):
		return c.finish(ctx, &ending{script: script, whole: true, keys: keys, args: args})
	case forwardsTasks(keys):
		return c.forwarded(c.UniversalClient.Eval(ctx, script, keys, args...))
	default:
		return c.UniversalClient.Eval(ctx, script, keys, args...)
	}
}

// ZAddXX extends leases for Asynq.
func (c *Client) ZAddXX(ctx context.Context, key string, members ...redis.Z) *redis.IntCmd {
	answer := c.UniversalClient.ZAddXX(ctx, key, members...)
	if strings.HasSuffix(key, ":lease") && answer.Err() == nil {
		for _, member := range members {
			if id, isText := member.Member.(string); isText {
				c.places.extend(task{queueOf(key), id}, time.Unix(int64(member.Score), 0))
			}
		}
	}
	return answer
}

func (c *Client) take(ctx context.Context, queue string) *redis.Cmd {
	answer := redis.NewCmd(ctx)
	switch message, err := c.taker.next(queue); {
	case err != nil:
		answer.SetErr(err)
	case message == "":
		answer.SetErr(redis.Nil)
	default:
		answer.SetVal(message)
	}
	return answer
}

// finish ends a task's run. When Asynq has an answer, whichever it is, the task's
// place is free. The first argument of all these scripts is the task's ID.
//
// Asynq takes every answer without an error for success, although these scripts
// answer only OK.
func (c *Client) finish(ctx context.Context, e *ending) *redis.Cmd {
	answer := c.instead(ctx, e)
	if answer == nil {
		answer = c.finisher.run(e, endOf(ctx))
	}
	if id, isText := e.args[0].(string); isText && !isNoScript(answer.Err()) {
		c.places.end(task{queueOf(e.keys[0]), id})
	}
	return answer
}

// instead puts a spared task back if Asynq would archive it. It returns nil for every
// other ending. As in endOf, only the deadline of ctx counts.
func (c *Client) instead(ctx context.Context, e *ending) *redis.Cmd {
	if c.spared == nil {
		return nil
	}
	if until := endOf(ctx); !until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(context.WithoutCancel(ctx), until)
		defer cancel()
	}
	return c.spared.Instead(ctx, c.UniversalClient, e.keys, e.args)
}

// forwarded rings the bell if tasks have become due.
func (c *Client) forwarded(answer *redis.Cmd) *redis.Cmd {
	if n, isNumber := answer.Val().(int64); isNumber && n > 0 {
		c.bell.Ring()
	}
	return answer
}
