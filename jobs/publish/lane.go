package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"outboxd/client/acknowledge"
	"outboxd/client/bell"
	"outboxd/client/redisreply"
	"outboxd/domain"
	"outboxd/jobs/broker"
)

// lane sends events to Redis, many in one round trip.
//
// Asynq's client enqueues one task at a time and waits for Redis after each. So Asynq gets the lane as its Redis
// client. The lane records the commands, and tells Asynq that they succeeded. Then the lane sends all commands as
// one pipeline, and the real answers of Redis decide about each event. So the messages, keys and scripts of these
// events come from Asynq. Two or more plain events of a queue do not pass Asynq's client: batchScript enqueues
// them.
//
// A lane serves one batch at a time.
type lane struct {
	redis.UniversalClient                       // for all commands that are not recorded
	whole                 redis.UniversalClient // the cluster that this server belongs to; nil: none
	key                   string                // for askReplicas, of this server
	asynq                 *asynq.Client
	pipe                  redis.Pipeliner
	task                  *redis.Cmd   // the command of the present task; nil: none yet
	queues                []*redis.Cmd // the commands that tell Redis of queues
	inFull                bool         // record scripts in full, not by their hashes
	hashesFail            bool         // Redis did not let a script be called by its hash
	noHashes              bool         // Redis refuses scripts by hash, and accepts them in full
	singly                bool         // send events one by one, because Redis refused a batch
	announced             map[string]bool
	options               taskOptions
	made                  time.Time
	renewed               int64 // Publisher.renewed when the lane was made
}

func newLane(client redis.UniversalClient, renewed int64) *lane {
	l := &lane{UniversalClient: client, pipe: client.Pipeline(), key: broker.ProbeKey, made: time.Now(), renewed: renewed, announced: map[string]bool{}}
	l.asynq = asynq.NewClientFromRedisClient(l)
	return l
}

// enqueued is the answer that Asynq's client gets, so that it continues. The real answer of Redis is read
// afterwards.
const enqueued = int64(1)

// SAdd records the command by which Asynq announces a queue to Redis. In a cluster SAdd sends it at once.
func (l *lane) SAdd(ctx context.Context, key string, members ...any) *redis.IntCmd {
	// Use Do, because SAdd accepts any reply line as a number.
	if l.whole != nil { // the set may be another server's
		l.queues = append(l.queues, l.whole.Do(ctx, append([]any{"SADD", key}, members...)...))
		return redis.NewIntResult(1, nil)
	}
	l.queues = append(l.queues, l.pipe.Do(ctx, append([]any{"SADD", key}, members...)...))
	return redis.NewIntResult(1, nil)
}

// EvalSha records the command by which Asynq enqueues a task.
func (l *lane) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	if l.inFull || l.noHashes {
		return redis.NewCmdResult(nil, errNoScript)
	}
	l.task = l.pipe.EvalSha(ctx, sha, keys, args...)
	return redis.NewCmdResult(enqueued, nil)
}

// Eval records the command by which Asynq enqueues a task after EvalSha found
// no script.
func (l *lane) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	l.task = l.pipe.Eval(ctx, script, keys, args...)
	return redis.NewCmdResult(enqueued, nil)
}

// headersOf returns the headers for the task of an event.
func headersOf(e *domain.Event) map[string]string {
	name, value := addedHeader(e)
	if name == "" {
		return e.Headers
	}
	headers := make(map[string]string, len(e.Headers)+1)
	maps.Copy(headers, e.Headers)
	headers[name] = value
	return headers
}

// addedHeader returns the header that an event's task gets in addition to the event's own headers; name is "" if
// there is none. The task of a delivery names the event, because the receiver gets the event's ID. All other tasks
// name their outbox, if the event has one, for consumers that acknowledge events.
func addedHeader(e *domain.Event) (name, value string) {
	switch {
	case !e.Origin.IsZero():
		return domain.HeaderOrigin, e.Origin.String()
	case e.Outbox != "":
		return acknowledge.Header, e.Outbox
	default:
		return "", ""
	}
}

// errNoScript makes Asynq's client call Eval after EvalSha.
var errNoScript redis.Error = scriptError(broker.NoScript + " the script is wanted in full")

type scriptError string

func (e scriptError) Error() string { return string(e) }
func (scriptError) RedisError()     {}

// add records the command that enqueues an event. An error means that Asynq's client refuses the event, or uses a
// command that the lane does not know.
func (l *lane) add(ctx context.Context, e *domain.Event) (*redis.Cmd, error) {
	l.task = nil
	_, err := l.asynq.EnqueueContext(ctx, asynq.NewTaskWithHeaders(e.Type, e.Payload, headersOf(e)), l.options.of(e)...)
	if err != nil {
		return nil, err
	}
	if l.task == nil {
		return nil, errors.New("asynq enqueued a task by an unknown command")
	}
	return l.task, nil
}

// A batch is sent in pieces, each in one pipeline. A piece ends when it has pieceBytes of payload, but has at least
// one event. The events of a piece are in memory twice: as events and as Asynq's messages. A piece must be written
// within the client's write timeout. For this size the connection needs 3 Mbit/s. A thousand events of usual size
// are one piece.
const pieceBytes = 1 << 20

// carry is called with a batch of events: it sends them to Redis and writes a receipt for each event. carry returns
// an error if too few replicas have the batch.
func (l *lane) carry(ctx context.Context, events []domain.Event, receipts []domain.Receipt, replicas int) (short error) {
	if l.whole != nil && len(events) > 0 {
		l.key = broker.ShardProbeKey(events[0].Queue)
	}
	for begin := 0; begin < len(events); {
		end, bytes := begin, 0
		for ; end < len(events) && bytes < pieceBytes; end++ {
			bytes += len(events[end].Payload)
		}
		if err := l.carryPiece(ctx, events[begin:end], receipts[begin:end], replicas); short == nil {
			short = err
		}
		if last := receipts[end-1]; last.Answer == domain.Unanswered && !broker.IsForbiddenKey(last.Err) {
			// Stop here, because each further piece would wait for its own timeout.
			for i := end; i < len(events); i++ {
				receipts[i] = last
			}
			break
		}
		begin = end
	}
	return short
}

// sendings is how often a piece is sent at most: with scripts as batches by hash, as batches in full, one by one by
// hash, and one by one in full.
const sendings = 4

// carryPiece sends some events in one pipeline, and sends again what Redis refused, up to sendings in all.
// carryPiece keeps no command after that, because a command holds its message in memory.
func (l *lane) carryPiece(ctx context.Context, events []domain.Event, receipts []domain.Receipt, replicas int) (short error) {
	commands := make([]*redis.Cmd, len(events))
	batches := l.batches(ctx, events, commands, receipts)
	wait, failed := l.send(ctx, replicas)
	for sent := 1; failed == nil && sent < sendings; sent++ {
		l.repeatInFull(ctx, events, commands, receipts)
		l.repeatBatches(ctx, batches, events, commands, receipts)
		if l.pipe.Len() == 0 {
			break
		}
		wait, failed = l.send(ctx, replicas)
	}
	for i := range receipts {
		switch command := commands[i]; {
		case command == nil:
		case failed != nil:
			receipts[i] = unanswered(failed)
		default:
			receipts[i] = readReceipt(command, events[i].Options.Unique != 0)
			l.noHashes = l.noHashes || l.hashesFail && receipts[i].Received()
		}
	}
	for _, b := range batches {
		if b != nil {
			b.read(receipts, failed)
		}
	}
	return enoughReplicas(wait, replicas)
}

// take records the command for an event. If Asynq's client refuses the event, trying it again cannot help. Then the
// result is nil, and the receipt has the reason.
func (l *lane) take(ctx context.Context, e *domain.Event, receipt *domain.Receipt) *redis.Cmd {
	command, err := l.add(ctx, e)
	if err != nil {
		*receipt = domain.Receipt{Answer: domain.Impossible, Err: err}
	}
	return command
}

// repeatInFull records again, with the script in full, the events whose script Redis does not have, or does not
// let this user call by its hash.
func (l *lane) repeatInFull(ctx context.Context, events []domain.Event, commands []*redis.Cmd, receipts []domain.Receipt) {
	l.inFull = true
	defer func() { l.inFull = false }()
	for i, command := range commands {
		if command == nil || command.Err() == nil || command.Name() != "evalsha" {
			continue
		}
		forbidden := broker.IsForbidden(command.Err())
		if forbidden || redis.HasErrorPrefix(command.Err(), broker.NoScript) {
			l.hashesFail = l.hashesFail || forbidden
			commands[i] = l.take(ctx, &events[i], &receipts[i])
		}
	}
}

var errQueueUntold = errors.New("tell Redis of a queue")

// send sends the recorded commands. It returns the command that asks for replicas, and an error if no answer may
// count.
//
// Each command has its own result. Tasks are enqueued even if Redis forbids the bell, the PUBLISH that wakes idle
// workers. But if a queue could not be announced, no answer counts, because its tasks are hidden from everything
// that lists queues. And after a timeout no answer counts, because an answer may belong to another command.
func (l *lane) send(ctx context.Context, replicas int) (wait *redis.Cmd, failed error) {
	bell.Publish(ctx, l.pipe) // if Redis forbids it, that only costs latency
	wait = askReplicas(ctx, l.pipe, l.key, replicas)
	_, err := l.pipe.Exec(ctx)
	queues := l.queues
	l.queues = nil
	if err != nil && redisreply.IsTimeout(err) {
		return wait, err
	}
	for _, queue := range queues {
		if n, err := queue.Result(); err != nil {
			return wait, fmt.Errorf("%w: %w", errQueueUntold, err)
		} else if n != int64(0) && n != int64(1) {
			return wait, redisreply.Unexpected{To: "SADD", Reply: n}
		}
	}
	return wait, nil
}
