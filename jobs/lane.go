package jobs

import (
	"context"
	"errors"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/domain"
)

// lane carries one batch of events to Redis in one round trip, through Asynq's
// own client.
//
// Asynq's client enqueues one task at a time and waits for Redis in between. A
// lane is the Redis client that Asynq is given: it takes down the commands, and
// tells Asynq that they succeeded. Then they are sent as one pipeline, and what
// Redis really answered decides about each event. So the messages, the keys and
// the scripts are Asynq's, and only the waiting is ours.
//
// A lane serves one batch at a time.
type lane struct {
	redis.UniversalClient // for everything that is not taken down
	asynq                 *asynq.Client
	pipe                  redis.Pipeliner
	task                  *redis.Cmd // the command of the task at hand; nil: none yet
	inFull                bool       // take down scripts, not their hashes
}

func newLane(client redis.UniversalClient) *lane {
	l := &lane{UniversalClient: client, pipe: client.Pipeline()}
	l.asynq = asynq.NewClientFromRedisClient(l)
	return l
}

// Whatever the scripts return means that Redis has the task or, where the
// producer asked for uniqueness, another one in its place. All that matters is
// whether they failed.
const enqueued = int64(1)

// noScript is how Redis says that it does not know a script by its hash.
const noScript = "NOSCRIPT"

// SAdd is how Asynq tells Redis of a queue.
func (l *lane) SAdd(ctx context.Context, key string, members ...any) *redis.IntCmd {
	l.pipe.SAdd(ctx, key, members...)
	return redis.NewIntResult(1, nil)
}

// EvalSha is how Asynq enqueues a task.
func (l *lane) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	if l.inFull {
		return redis.NewCmdResult(nil, errNoScript)
	}
	l.task = l.pipe.EvalSha(ctx, sha, keys, args...)
	return redis.NewCmdResult(enqueued, nil)
}

// Eval is how Asynq enqueues a task when EvalSha found no script.
func (l *lane) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	l.task = l.pipe.Eval(ctx, script, keys, args...)
	return redis.NewCmdResult(enqueued, nil)
}

// errNoScript sends Asynq from EvalSha to Eval.
var errNoScript redis.Error = scriptError(noScript + " the script is wanted in full")

type scriptError string

func (e scriptError) Error() string { return string(e) }
func (scriptError) RedisError()     {}

// add takes down what enqueues an event. The error is Asynq's refusal.
func (l *lane) add(ctx context.Context, e *domain.Event) (*redis.Cmd, error) {
	l.task = nil
	_, err := l.asynq.EnqueueContext(ctx, asynq.NewTaskWithHeaders(e.Type, e.Payload, e.Headers), taskOptions(e)...)
	if err != nil {
		return nil, err
	}
	if l.task == nil {
		return nil, errors.New("asynq enqueued a task in a way that is not known here")
	}
	return l.task, nil
}

// carry sends a batch and returns, for each event, Redis's command or Asynq's
// refusal.
func (l *lane) carry(ctx context.Context, events []domain.Event) ([]*redis.Cmd, []error) {
	commands, refusals := make([]*redis.Cmd, len(events)), make([]error, len(events))
	for i := range events {
		commands[i], refusals[i] = l.add(ctx, &events[i])
	}
	// Each command has its own error; the pipeline's is one of theirs.
	_, _ = l.pipe.Exec(ctx)
	l.inFull = true
	for i, command := range commands {
		if command != nil && redis.HasErrorPrefix(command.Err(), noScript) {
			commands[i], refusals[i] = l.add(ctx, &events[i])
		}
	}
	l.inFull = false
	_, _ = l.pipe.Exec(ctx)
	return commands, refusals
}
