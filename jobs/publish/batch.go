package publish

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/client/redisreply"
	"outboxd/domain"
	"outboxd/jobs/broker"
)

// batchScript enqueues many tasks of one queue, each in the same way as Asynq's own script. If Redis refuses the
// write to the pending list, the script leaves no task keys behind.
//
// KEYS: the pending list, then the key of each task
// ARGV: current time in nanoseconds, then the ID and the message of each task
//
// Returns for each task 1 if it was enqueued, and 0 if its key exists already.
var batchScript = redis.NewScript(`
local replies, ids, made = {}, {}, {}
for i = 2, #KEYS do
	if redis.call("EXISTS", KEYS[i]) == 1 then
		replies[i - 1] = 0
	else
		redis.call("HSET", KEYS[i], "msg", ARGV[2 * i - 1], "state", "pending", "pending_since", ARGV[1])
		replies[i - 1] = 1
		ids[#ids + 1] = ARGV[2 * i - 2]
		made[#made + 1] = KEYS[i]
	end
end
if #ids > 0 then
	local pushed = redis.pcall("LPUSH", KEYS[1], unpack(ids))
	if type(pushed) == "table" and pushed.err then
		redis.call("DEL", unpack(made))
		return pushed
	end
end
return replies`)

// batchMost is how many tasks one script enqueues at most. More tasks need several scripts, so that no script
// blocks Redis for long.
const batchMost = 100

// batch is a number of events of one queue that one script enqueues.
type batch struct {
	events  []int // indexes of the events
	keys    []string
	args    []any
	command *redis.Cmd
}

func newBatch(queue string, now time.Time) *batch {
	b := &batch{keys: make([]string, 1, batchMost+1), args: make([]any, 1, 2*batchMost+1)}
	b.keys[0], b.args[0] = broker.PendingKey(queue), now.UnixNano()
	return b
}

func (b *batch) add(place int, e *domain.Event) {
	id := e.TaskID()
	b.events = append(b.events, place)
	b.keys = append(b.keys, broker.TaskKey(e.Queue, id))
	b.args = append(b.args, id, taskMessage(e, id))
}

// send adds the script to a pipeline: by its hash, or in full.
func (b *batch) send(ctx context.Context, pipe redis.Pipeliner, inFull bool) {
	if inFull {
		b.command = batchScript.Eval(ctx, pipe, b.keys, b.args...)
	} else {
		b.command = batchScript.EvalSha(ctx, pipe, b.keys, b.args...)
	}
}

// read writes a receipt for each event of the batch. If the parameter failed is an error, no answer counts.
func (b *batch) read(receipts []domain.Receipt, failed error) {
	replies, err := b.command.Slice()
	if failed != nil {
		err = failed
	}
	if err == nil && len(replies) != len(b.events) {
		err = redisreply.Unexpected{To: "the script that enqueues tasks", Reply: replies}
	}
	for n, i := range b.events {
		switch {
		case err != nil:
			receipts[i] = unanswered(err)
		case replies[n] == scriptEnqueued:
			receipts[i] = domain.Receipt{Answer: domain.Accepted}
		case replies[n] == scriptConflict:
			receipts[i] = domain.Receipt{Answer: domain.AlreadyThere}
		default:
			receipts[i] = unanswered(redisreply.Unexpected{To: "the script that enqueues tasks", Reply: replies[n]})
		}
	}
}

// isRefused reports whether Redis enqueued nothing of the batch, although it may accept the events one by one. So
// isRefused is true if the error is about one of the events, about the script, or about a command of the script.
func (b *batch) isRefused() bool {
	err := b.command.Err()
	return err != nil && (broker.IsForbidden(err) || !broker.IsOutage(err) || broker.IsFromScript(err) && !broker.IsWriteRefusal(err))
}

// batches records the commands for the events. The plain events of a queue (see isPlain) form batches of up to
// batchMost. Other events are recorded one by one: also an event that would be alone in its batch, and all events
// once Redis has refused a batch (singly).
func (l *lane) batches(ctx context.Context, events []domain.Event, commands []*redis.Cmd, receipts []domain.Receipt) (all []*batch) {
	now, open := time.Now(), map[string]*batch{}
	for i := range events {
		e := &events[i]
		if l.singly || !isPlain(e) {
			commands[i] = l.take(ctx, e, &receipts[i])
			continue
		}
		b := open[e.Queue]
		if b == nil || len(b.events) == batchMost {
			b = newBatch(e.Queue, now)
			open[e.Queue] = b
			all = append(all, b)
		}
		b.add(i, e)
	}
	for n, b := range all {
		if len(b.events) == 1 {
			i := b.events[0]
			commands[i] = l.take(ctx, &events[i], &receipts[i])
			all[n] = nil
			continue
		}
		l.announce(ctx, events[b.events[0]].Queue)
		b.send(ctx, l.pipe, false)
	}
	return all
}

// announce adds a queue to Asynq's set of queues, once for each lane.
func (l *lane) announce(ctx context.Context, queue string) {
	if !l.announced[queue] {
		l.announced[queue] = true
		l.SAdd(ctx, broker.QueuesKey, queue)
	}
}

// repeatBatches records refused batches again (see isRefused). If Redis does not know the script by its hash, the
// batch is sent again with the script in full. If Redis refuses a batch, its events are sent one by one.
func (l *lane) repeatBatches(ctx context.Context, all []*batch, events []domain.Event, commands []*redis.Cmd, receipts []domain.Receipt) {
	for n, b := range all {
		switch {
		case b == nil || !b.isRefused():
		case b.command.Name() == "evalsha" && redis.HasErrorPrefix(b.command.Err(), broker.NoScript):
			b.send(ctx, l.pipe, true)
		default:
			l.singly = true
			for _, i := range b.events {
				commands[i] = l.take(ctx, &events[i], &receipts[i])
			}
			all[n] = nil
		}
	}
}
