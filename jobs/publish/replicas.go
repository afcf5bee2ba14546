package publish

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/domain"
	"outboxd/jobs/broker"
)

// replicaPatience is how long replicas may take to acknowledge a batch. The
// connection's read timeout and the breaker's probe are longer.
const replicaPatience = time.Second

// askReplicas adds to a pipeline the question how many replicas have what came
// before it; nil if nobody wants to know. Redis answers for what the
// connection itself has written, and a batch that was there already has written nothing: so a write
// goes before the question, which replicas get after everything else.
func askReplicas(ctx context.Context, pipe redis.Pipeliner, replicas int) *redis.Cmd {
	if replicas == 0 {
		return nil
	}
	pipe.Set(ctx, broker.ProbeKey, time.Now().Unix(), time.Minute)
	return pipe.Do(ctx, "WAIT", replicas, replicaPatience.Milliseconds())
}

// enoughReplicas returns nil if the answer is that enough replicas have it.
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
		return broker.Unavailable(waiting, broker.UnexpectedReply{To: "WAIT", Reply: reply})
	}
	if n < int64(replicas) {
		return domain.Errorf(domain.CodeUnavailable,
			"%d of %d replicas of Redis acknowledged the tasks within %v: start or mend replicas, or ask for fewer with redis.wait_replicas", n, replicas, replicaPatience)
	}
	return nil
}
