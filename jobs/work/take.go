package work

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"outboxd/jobs/broker"
)

// taker takes tasks as Asynq's server does, but only tasks of its types. A task
// of another type stays where it is, for another worker: nothing of it changes,
// so a crash leaves nothing to undo.
//
// It is not safe for concurrent use: Asynq takes tasks from one goroutine.
type taker struct {
	redis   redis.UniversalClient
	log     *slog.Logger
	blocked *prometheus.GaugeVec // by queue
	types   []string
	begins  []any  // the beginnings of the messages of each type
	name    string // the prefix of its receipts, unique to this taker
	asked   uint64 // number of questions so far
	queues  map[string]*standoff
}

func newTaker(client redis.UniversalClient, types []string, all bool, log *slog.Logger, blocked *prometheus.GaugeVec) *taker {
	t := &taker{redis: client, log: log, blocked: blocked, types: types, name: rand.Text(), queues: map[string]*standoff{}}
	if all {
		t.begins = append(t.begins, "") // the beginning of every message
	}
	for _, name := range types {
		t.begins = append(t.begins, string(broker.TypeField(name)))
	}
	return t
}

// takeScript is Asynq's script for taking a task, with a check of the task's
// type before. Its first four keys and two arguments are Asynq's.
//
// If the head has an unknown type, it looks at a window of the queue behind it,
// so that one task whose worker is away does not delay all others. It drops an ID
// whose task is gone: if it was taken, it would be active for ever.
//
// KEYS: pending, paused, active, lease
// ARGV: end of the lease, prefix of task keys, the ID of a task that is known to
// be of the right type or "", where the window begins, how long it is, how many
// bytes of messages are read at most, the receipt of this question, the receipts of
// those without an answer, the beginnings of known messages
//
// A task that was taken by a question without an answer is given again, because
// nobody runs it. It gets the receipt before it is moved, so that it is found even
// if Redis stopped in the middle. It is among the latest active tasks.
//
// Returns nothing; or the message of a task that was taken, and the head's ID if
// it was taken from behind the head; or "", the head's ID, its message, and the
// number of tasks in the window.
var takeScript = redis.NewScript(`
if ARGV[8] ~= "" then
	for _, id in ipairs(redis.call("LRANGE", KEYS[3], 0, 999)) do
		local key = ARGV[2] .. id
		local receipt, msg = unpack(redis.call("HMGET", key, "outboxd_take", "msg"))
		if receipt and msg and string.find(ARGV[8], receipt, 1, true) then
			redis.call("HSET", key, "outboxd_take", ARGV[7])
			redis.call("ZADD", KEYS[4], ARGV[1], id)
			return {msg}
		end
	end
end
if redis.call("EXISTS", KEYS[2]) == 1 then return {} end
local function known(id, msg)
	if id == ARGV[3] then return true end
	for i = 9, #ARGV do
		if string.sub(msg, 1, #ARGV[i]) == ARGV[i] then return true end
	end
	return false
end
local function bear(id) redis.call("HSET", ARGV[2] .. id, "state", "active", "outboxd_take", ARGV[7]) end
local function take(id, msg, head)
	redis.call("HDEL", ARGV[2] .. id, "pending_since")
	redis.call("ZADD", KEYS[4], ARGV[1], id)
	return {msg, head}
end
local head, first
for _ = 1, 100 do
	local id = redis.call("LINDEX", KEYS[1], -1)
	if not id then return {} end
	local msg = redis.call("HGET", ARGV[2] .. id, "msg")
	if not msg then
		redis.call("RPOP", KEYS[1])
	elseif known(id, msg) then
		bear(id)
		redis.call("RPOPLPUSH", KEYS[1], KEYS[3])
		return take(id, msg)
	else
		head, first = id, msg
		break
	end
end
if not head then return {} end
local from, read = tonumber(ARGV[4]), 0
local ids = redis.call("LRANGE", KEYS[1], -(from + ARGV[5] - 1), -from)
for i = #ids, 1, -1 do
	local msg = redis.call("HGET", ARGV[2] .. ids[i], "msg")
	if msg then
		if known(ids[i], msg) then
			bear(ids[i])
			redis.call("LREM", KEYS[1], -1, ids[i])
			redis.call("LPUSH", KEYS[3], ids[i])
			return take(ids[i], msg, head)
		end
		read = read + #msg
		if read >= tonumber(ARGV[6]) then return {"", head, first, #ids - i + 1} end
	end
end
return {"", head, first, #ids}`)

// The window behind a head of an unknown type: number of tasks, and bytes of
// messages.
const (
	windowTasks = 50
	windowBytes = 1 << 20
)

// take runs takeScript with the keys and arguments of Asynq's script, and
// returns an answer for Asynq.
func (t *taker) take(ctx context.Context, keys []string, args []any) *redis.Cmd {
	queue := broker.QueueOf(keys[0])
	s := t.queues[queue]
	if s == nil {
		s = &standoff{from: 2}
		t.queues[queue] = s
	}
	answer := redis.NewCmd(ctx)
	if time.Now().Before(s.again) {
		answer.SetErr(redis.Nil)
		return answer
	}
	message, err := t.ask(ctx, s, queue, keys, args)
	switch {
	case err != nil:
		s.again = time.Now().Add(askAgain/2 + mathrand.N(askAgain))
		answer.SetErr(err)
	case message == "":
		answer.SetErr(redis.Nil)
	default:
		answer.SetVal(message)
	}
	return answer
}

func (t *taker) ask(ctx context.Context, s *standoff, queue string, keys []string, args []any) (message string, err error) {
	known := ""
	for range 2 {
		receipt := t.receipt()
		reply, err := readTake(takeScript.Run(ctx, t.redis, keys, append(slices.Clip(args), append([]any{known, s.from, windowTasks, windowBytes, receipt, s.unanswered()}, t.begins...)...)...))
		if err != nil {
			s.lose(receipt)
			return "", err
		}
		if !reply.behind {
			t.over(s, queue)
		}
		if !reply.unknown {
			if reply.message != "" {
				s.looks = 0
			}
			return reply.message, nil
		}
		kind, readable := broker.TypeOf([]byte(reply.message))
		if readable && slices.Contains(t.types, kind) {
			known = reply.head // its encoder put the type at another place
			continue
		}
		t.standBack(ctx, s, queue, reply.head, kind, reply.window)
		return "", nil
	}
	return "", nil
}

// receipt returns the mark for the task that the next question takes. All
// receipts have the same length.
func (t *taker) receipt() string {
	t.asked++
	return fmt.Sprintf("%s-%016x", t.name, t.asked)
}

// askAgain is how long, on average, a queue is left alone after a question without
// an answer, unless the bell rings.
const askAgain = 500 * time.Millisecond

// lookAgain ends all pauses, because there are new tasks.
func (t *taker) lookAgain() {
	for _, s := range t.queues {
		s.again = time.Time{}
	}
}

// pauseAfter returns how long a queue is left alone after a number of looks in a
// row that found nothing to take.
func pauseAfter(looks int) time.Duration {
	const first, most = 10 * time.Millisecond, 500 * time.Millisecond
	pause := most
	if looks < 6 {
		pause = min(first<<looks, most)
	}
	return pause/2 + mathrand.N(pause)
}
