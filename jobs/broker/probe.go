package broker

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// probeScript runs the commands with which Asynq's scripts enqueue a task, on keys of its own. It
// leaves only the first of these keys, for 60 s.
const probeScript = `
redis.call('SET', KEYS[1], ARGV[1], 'EX', 60)
redis.call('EXISTS', KEYS[2])
redis.call('HSET', KEYS[2], 'msg', ARGV[1])
redis.call('LPUSH', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[2], KEYS[3])
return 1`

// Probed is the answer to a Probe.
const Probed = int64(1)

// Probe runs a script that tests whether Redis accepts tasks. A PING is not enough,
// because a Redis that accepts no writes also answers PING: a replica, or a Redis without
// free memory.
func Probe(ctx context.Context, client redis.Scripter) *redis.Cmd {
	return client.Eval(ctx, probeScript, []string{ProbeKey, ProbeKey + ":task", ProbeKey + ":list"}, time.Now().Unix())
}

// ProbeShard does what Probe does on the master that has a queue, with keys of the
// queue's slot.
func ProbeShard(ctx context.Context, client redis.Scripter, queue string) *redis.Cmd {
	key := ShardProbeKey(queue)
	return client.Eval(ctx, probeScript, []string{key, key + ":task", key + ":list"}, time.Now().Unix())
}

// probeQueueScript uses two keys of a queue and changes nothing.
const probeQueueScript = `return redis.call('EXISTS', KEYS[1], KEYS[2])`

// ProbeQueue tests whether the Redis user may use the keys of a queue.
func ProbeQueue(ctx context.Context, client redis.Scripter, queue string) *redis.Cmd {
	return client.Eval(ctx, probeQueueScript, []string{TaskKey(queue, "outboxd:probe"), PendingKey(queue)})
}
