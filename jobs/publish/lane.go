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
	"outboxd/domain"
	"outboxd/jobs/broker"
)

// lane carries one batch of events to Redis in one round trip, through Asynq's
// own client.
//
// Asynq's client enqueues one task at a time and waits for Redis in between. A
// lane is the Redis client that Asynq is given: it records the commands, and
// tells Asynq that they succeeded. Then they are sent as one pipeline, and
// Redis's real answers decide about each event. So messages, keys and scripts
// are Asynq's, and only the waiting is ours.
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
	inFull                bool         // take down scripts, not their hashes
	hashesFail            bool         // Redis did not let a script be called by its hash
	noHashes              bool         // and takes the script in full
	singly                bool         // Redis took events one by one, and no batch
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

// enqueued is the answer that Asynq gets, so that it continues. Redis's real
// answer is read afterwards.
const enqueued = int64(1)

// SAdd records the command by which Asynq tells Redis of a queue.
func (l *lane) SAdd(ctx context.Context, key string, members ...any) *redis.IntCmd {
	// Not by SAdd, which accepts any line as a number.
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

// headersOf returns the headers of an event's task.
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

// addedHeader returns the header that the task of an event has besides the event's own;
// "": none. A delivery names its event, whose ID the receiver gets. All other tasks name
// their outbox, for consumers that acknowledge to it.
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

// errNoScript makes Asynq use Eval instead of EvalSha.
var errNoScript redis.Error = scriptError(broker.NoScript + " the script is wanted in full")

type scriptError string

func (e scriptError) Error() string { return string(e) }
func (scriptError) RedisError()     {}

// add records the command that enqueues an event. The error is Asynq's refusal.
func (l *lane) add(ctx context.Context, e *domain.Event) (*redis.Cmd, error) {
	l.task = nil
	_, err := l.asynq.EnqueueContext(ctx, asynq.NewTaskWithHeaders(e.Type, e.Payload, headersOf(e)), l.options.of(e)...)
	if err != nil {
		return nil, err
	}
	if l.task == nil {
		return nil, errors.New("asynq enqueued a task in a way that is not known here")
	}
	return l.task, nil
}

// pieceBytes is how many bytes of payload end a pipeline, which has at least
// one event. A piece is in memory twice, as events and as Asynq's messages. It
// must be written within the client's write timeout, for which this size needs
// 3 Mbit/s. A thousand events of common size are one piece.
const pieceBytes = 1 << 20

// carry sends a batch and writes a receipt for each event. The error says that
// too few replicas have the batch.
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
			// Stop here: each further piece would wait for its own timeout.
			for i := end; i < len(events); i++ {
				receipts[i] = last
			}
			break
		}
		begin = end
	}
	return short
}

// sendings is how often a piece is sent at most: batches by hash and in full, then
// one by one, by hash and in full.
const sendings = 4

// carryPiece sends some events in one pipeline. It keeps no command, because a
// command keeps its message.
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

// take records an event. If Asynq itself refuses the task, which it would
// again, take returns nil and writes the reason into the receipt.
func (l *lane) take(ctx context.Context, e *domain.Event, receipt *domain.Receipt) *redis.Cmd {
	command, err := l.add(ctx, e)
	if err != nil {
		*receipt = domain.Receipt{Answer: domain.Impossible, Err: err}
	}
	return command
}

// repeatInFull records events again, with scripts in full, if Redis does not
// know their script by its hash, or does not let this user call it so.
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

// send sends the recorded commands. It returns the replicas' answer, and an
// error if no answer may count.
//
// Each command has its own result; see unread. If Redis forbids the bell, the
// tasks are there all the same. But if Redis does not know a queue, its tasks
// are hidden from everything that lists queues. And if one answer never came,
// each answer that was read may belong to another command.
func (l *lane) send(ctx context.Context, replicas int) (wait *redis.Cmd, failed error) {
	bell.Publish(ctx, l.pipe) // if Redis forbids it, that only costs latency
	wait = askReplicas(ctx, l.pipe, l.key, replicas)
	_, err := l.pipe.Exec(ctx)
	queues := l.queues
	l.queues = nil
	if err != nil && broker.IsTimeout(err) {
		return wait, err
	}
	for _, queue := range queues {
		if n, err := queue.Result(); err != nil {
			return wait, fmt.Errorf("%w: %w", errQueueUntold, err)
		} else if n != int64(0) && n != int64(1) {
			return wait, broker.UnexpectedReply{To: "SADD", Reply: n}
		}
	}
	return wait, nil
}
