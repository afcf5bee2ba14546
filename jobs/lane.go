package jobs

import (
	"context"
	"errors"
	"time"

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
	options               taskOptions
	made                  time.Time
	renewed               int64 // the publisher's count when it was made
}

func newLane(client redis.UniversalClient, renewed int64) *lane {
	l := &lane{UniversalClient: client, pipe: client.Pipeline(), made: time.Now(), renewed: renewed}
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
	_, err := l.asynq.EnqueueContext(ctx, asynq.NewTaskWithHeaders(e.Type, e.Payload, e.Headers), l.options.of(e)...)
	if err != nil {
		return nil, err
	}
	if l.task == nil {
		return nil, errors.New("asynq enqueued a task in a way that is not known here")
	}
	return l.task, nil
}

// pieceBytes is how much payload goes into one pipeline, at least; one event is
// always taken. A piece is in memory twice, as events and as Asynq's messages,
// and has to be written within the client's write timeout: at this size that
// takes a network of 3 Mbit/s. A thousand events of common size are one piece.
const pieceBytes = 1 << 20

// carry sends a batch and returns, for each event, Redis's answer or Asynq's
// refusal. The error says that too few replicas have the batch.
func (l *lane) carry(ctx context.Context, events []domain.Event, replicas int) (answers, refusals []error, err error) {
	answers, refusals = make([]error, len(events)), make([]error, len(events))
	for begin := 0; begin < len(events); {
		end, bytes := begin, 0
		for ; end < len(events) && bytes < pieceBytes; end++ {
			bytes += len(events[end].Payload)
		}
		short := l.carryPiece(ctx, events[begin:end], answers[begin:end], refusals[begin:end], replicas)
		if err == nil {
			err = short
		}
		if failure := answers[end-1]; isOutage(failure) {
			// Each further piece would wait for its own timeout.
			for i := end; i < len(events); i++ {
				answers[i] = failure
			}
			return answers, refusals, err
		}
		begin = end
	}
	return answers, refusals, err
}

// carryPiece sends some events in one pipeline. It keeps no command, because a
// command keeps its message.
func (l *lane) carryPiece(ctx context.Context, events []domain.Event, answers, refusals []error, replicas int) error {
	commands := make([]*redis.Cmd, len(events))
	for i := range events {
		commands[i], refusals[i] = l.add(ctx, &events[i])
	}
	ring(ctx, l.pipe)
	wait := askReplicas(ctx, l.pipe, replicas)
	// Each command has its own error; the pipeline's is one of theirs.
	_, _ = l.pipe.Exec(ctx)
	l.inFull = true
	for i, command := range commands {
		if command != nil && command.Err() != nil && redis.HasErrorPrefix(command.Err(), noScript) {
			commands[i], refusals[i] = l.add(ctx, &events[i])
		}
	}
	l.inFull = false
	if l.pipe.Len() > 0 {
		ring(ctx, l.pipe)
		wait = askReplicas(ctx, l.pipe, replicas)
		_, _ = l.pipe.Exec(ctx)
	}
	for i, command := range commands {
		if command != nil {
			answers[i] = command.Err()
		}
	}
	return enoughReplicas(wait, replicas)
}
