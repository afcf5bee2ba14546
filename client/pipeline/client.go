package pipeline

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/client/bell"
	"outboxd/client/redisreply"
	"outboxd/client/spare"
)

// Options of a Client. All options are required unless a comment says otherwise.
type Options struct {
	// Direct is the client for taking and finishing tasks, and Redis is the client
	// for all other commands. Both connect to the same Redis. Direct must not
	// repeat a command by itself: a repeat would take other tasks, and the tasks
	// taken first would be lost until their leases end. See the function Direct.
	Redis, Direct redis.UniversalClient
	// Concurrency, Queues and StrictPriority have the same values and defaults as
	// in the server's asynq.Config.
	Concurrency    int
	Queues         map[string]int
	StrictPriority bool
	// Every is the average time between two polls of an idle server. Polls find the
	// tasks that the bell does not announce. 0: a second. More than 10 seconds count as
	// 10 seconds.
	Every time.Duration
	// Types are the task types to take. Tasks of other types stay in their queue,
	// unchanged, for another worker. nil: all types.
	Types []string
	// Watcher learns of tasks of other types at the head of a queue. nil: nobody
	// does.
	Watcher Watcher
	// Gate limits how fast the server takes tasks. With a Gate, tasks are taken one
	// by one. nil: no limit.
	Gate Gate
	// Spared has the tasks that Asynq must not archive. nil: none.
	Spared *spare.Tasks
}

// Client is the Redis client of one Asynq server: see
// asynq.NewServerFromRedisClient. Set the server's TaskCheckInterval to bell.Pause,
// because the Client itself waits while the queues are empty.
type Client struct {
	redis.UniversalClient
	taker    *taker
	finisher *finisher
	places   *places
	bell     bell.Bell
	spared   *spare.Tasks
	absence  absence
	stop     context.CancelFunc
}

// New returns a Client, which connects at its first command. When ctx ends, the
// Client takes no more tasks, and at once gives back the tasks that it has not
// handed out; Release waits for that.
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

// completed fills in defaults. The defaults of options that Asynq also has are the
// same as Asynq's.
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

// Bell returns the bell that tells the Client of new tasks. While its queues are
// empty, the Client waits for a ring or for the next poll. The caller must run the
// bell's Listen.
func (c *Client) Bell() bell.Bell { return c.bell }

// Release makes the Client take no more tasks. Release returns when the tasks that
// were not handed out are back in their queues, or after a few tries without an
// answer of Redis. Call it before the server's Shutdown.
func (c *Client) Release() {
	c.stop()
	c.taker.buffer.close()
}

// EvalSha runs one of Asynq's scripts. For the script that takes a task, EvalSha returns
// a task that the Client took, or takes tasks. Scripts that end the run of a task are sent
// in pipelines. If Redis has no memory left for the script that moves due tasks to the pending
// list, another script moves them. All other scripts are sent unchanged.
func (c *Client) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	queue, ends := endsRun(keys)
	switch {
	case takesTask(keys):
		return c.take(ctx, queueOf(keys[0]))
	case ends:
		return c.finish(ctx, &ending{script: sha, queue: queue, keys: keys, args: args})
	case forwardsTasks(keys):
		return c.forwarded(ctx, c.UniversalClient.EvalSha(ctx, sha, keys, args...), keys, args)
	default:
		return c.UniversalClient.EvalSha(ctx, sha, keys, args...)
	}
}

// Eval does the same as EvalSha for a script that Redis does not know yet.
func (c *Client) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	queue, ends := endsRun(keys)
	switch {
	case takesTask(keys):
		return c.take(ctx, queueOf(keys[0]))
	case ends:
		return c.finish(ctx, &ending{script: script, whole: true, queue: queue, keys: keys, args: args})
	case forwardsTasks(keys):
		return c.forwarded(ctx, c.UniversalClient.Eval(ctx, script, keys, args...), keys, args)
	default:
		return c.UniversalClient.Eval(ctx, script, keys, args...)
	}
}

// ZAddXX is the command with which Asynq extends leases. The Client records the new ends
// of the leases. If Redis has no memory left, the Client extends them in another way, because
// otherwise tasks would run a second time, at the cost of an attempt.
func (c *Client) ZAddXX(ctx context.Context, key string, members ...redis.Z) *redis.IntCmd {
	answer := c.UniversalClient.ZAddXX(ctx, key, members...)
	if !strings.HasSuffix(key, ":lease") {
		return answer
	}
	if redisreply.IsFull(answer.Err()) {
		args := make([]any, 0, 2*len(members))
		for _, member := range members {
			args = append(args, member.Score, member.Member)
		}
		n, err := extendScript.Eval(ctx, c.UniversalClient, []string{key}, args...).Int64()
		answer = redis.NewIntResult(n, err)
	}
	c.absence.hear(answer.Err())
	if answer.Err() == nil {
		for _, member := range members {
			if id, isText := member.Member.(string); isText {
				c.places.extend(task{queueOf(key), id}, time.Unix(int64(member.Score), 0))
			}
		}
	}
	return answer
}

// hangsAfter is how long a server with a free worker slot may go without asking for a task. A
// question waits at most half a lease for the bell, and then for a few commands, each with the
// client's time limit. After an error Asynq asks again at once.
const hangsAfter = 4 * leaseTime

// Hangs returns an error if the server has had a free worker slot for two minutes, and in
// this time did not ask for a task or got no answer. An outage of Redis is no such case,
// because the Client then answers with an error. Once the Client stops (see New and
// Release), Hangs returns nil. Hangs is safe for concurrent use.
func (c *Client) Hangs() error {
	if idle := c.places.idle(); idle > hangsAfter && !c.taker.ended() {
		return fmt.Errorf("the worker has free slots and has taken no task for %v, not even looked for one", idle.Round(time.Second))
	}
	return nil
}

func (c *Client) take(ctx context.Context, queue string) *redis.Cmd {
	c.places.ask()
	defer c.places.ask()
	answer := redis.NewCmd(ctx)
	switch message, err := c.taker.next(queue); {
	case err != nil:
		c.absence.hear(err)
		answer.SetErr(err)
	case message == "":
		answer.SetErr(redis.Nil)
	default:
		answer.SetVal(message)
	}
	return answer
}

// finish runs a script that ends a task's run. After any answer except NOSCRIPT the
// task's worker slot counts as free. The first argument of all these scripts is the
// task's ID.
//
// Asynq takes every answer without an error for success. But these scripts only
// ever answer OK, so another answer becomes an error (see sendAll).
func (c *Client) finish(ctx context.Context, e *ending) *redis.Cmd {
	answer := c.instead(ctx, e)
	if answer == nil {
		answer = c.finisher.run(e, endOf(ctx))
	}
	c.absence.hear(answer.Err())
	if id, isText := e.args[0].(string); isText && !isNoScript(answer.Err()) {
		c.places.end(task{e.queue, id})
	}
	return answer
}

// instead puts a spared task back if the script would archive it. instead returns
// nil for every other script. Only the deadline of ctx counts; see endOf.
func (c *Client) instead(ctx context.Context, e *ending) *redis.Cmd {
	if c.spared == nil {
		return nil
	}
	if until := endOf(ctx); !until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(context.WithoutCancel(ctx), until)
		defer cancel()
	}
	c.spareForAbsence(e.keys, e.args)
	return c.spared.Instead(ctx, c.UniversalClient, e.keys, e.args)
}

// forwarded is called with the answer to Asynq's script that moves due tasks to the
// pending list, and rings the bell if it moved any. If Redis has reached its maxmemory,
// it refuses that script, and forwardScript moves the tasks: no other task would leave
// the sets of scheduled and retried tasks, and Redis would stay full.
//
// Asynq runs its script for each queue every few seconds. So the script's errors
// show an outage even to a worker that has no tasks of the queue and gets tasks of
// other queues.
func (c *Client) forwarded(ctx context.Context, answer *redis.Cmd, keys []string, args []any) *redis.Cmd {
	if redisreply.IsFull(answer.Err()) {
		answer = forwardScript.Run(ctx, c.UniversalClient, keys, args...)
	}
	c.absence.hear(answer.Err())
	if n, isNumber := answer.Val().(int64); isNumber && n > 0 {
		c.bell.Ring()
	}
	return answer
}
