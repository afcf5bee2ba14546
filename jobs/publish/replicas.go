package publish

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/client/redisreply"
	"outboxd/domain"
	"outboxd/jobs/broker"
)

// replicaPatience is how long replicas may take to acknowledge a batch. replicaPatience is shorter than the
// timeouts of the connection and of the breaker's probe.
const replicaPatience = time.Second

// askReplicas adds WAIT to a pipeline, which asks how many replicas have the commands before it. It returns nil if
// the number of replicas is 0. WAIT counts only writes of this connection, and a batch whose tasks existed already
// has written nothing. So askReplicas adds a write to the given key before WAIT; a replica that has this write
// also has everything before it. This server must have the slot of the key.
func askReplicas(ctx context.Context, pipe redis.Pipeliner, key string, replicas int) *redis.Cmd {
	if replicas == 0 {
		return nil
	}
	pipe.Set(ctx, key, time.Now().Unix(), time.Minute)
	return pipe.Do(ctx, "WAIT", replicas, replicaPatience.Milliseconds())
}

// enoughReplicas returns nil if at least the given number of replicas have acknowledged the batch.
func enoughReplicas(wait *redis.Cmd, replicas int) error {
	if wait == nil {
		return nil
	}
	const waiting = "wait for replicas"
	reply, err := wait.Result()
	if err != nil {
		return broker.Unavailable(waiting, err)
	}
	n, isNumber := reply.(int64)
	if !isNumber || n < 0 {
		return broker.Unavailable(waiting, redisreply.Unexpected{To: "WAIT", Reply: reply})
	}
	if n < int64(replicas) {
		return domain.Errorf(domain.CodeUnavailable,
			"%d of %d replicas of Redis acknowledged the tasks within %v: start or mend replicas, or ask for fewer with redis.wait_replicas", n, replicas, replicaPatience)
	}
	return nil
}
