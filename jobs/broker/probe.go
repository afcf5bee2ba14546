package broker

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// probeScript does what Asynq's scripts do to enqueue, and leaves nothing but the
// key.
const probeScript = `
redis.call('SET', KEYS[1], ARGV[1], 'EX', 60)
redis.call('EXISTS', KEYS[2])
redis.call('HSET', KEYS[2], 'msg', ARGV[1])
redis.call('LPUSH', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[2], KEYS[3])
return 1`

// Probed is what a Probe answers.
const Probed = int64(1)

// Probe asks whether Redis takes tasks, in a script, as tasks are enqueued. A PING
// would be answered by a Redis that takes no writes: a replica, or one that is
// out of memory.
func Probe(ctx context.Context, client redis.Scripter) *redis.Cmd {
	return client.Eval(ctx, probeScript, []string{ProbeKey, ProbeKey + ":task", ProbeKey + ":list"}, time.Now().Unix())
}

// probeQueueScript names two keys of a queue, and changes nothing.
const probeQueueScript = `return redis.call('EXISTS', KEYS[1], KEYS[2])`

// ProbeQueue asks whether Redis lets its user use the keys of a queue.
func ProbeQueue(ctx context.Context, client redis.Scripter, queue string) *redis.Cmd {
	return client.Eval(ctx, probeQueueScript, []string{TaskKey(queue, "outboxd:probe"), PendingKey(queue)})
}
