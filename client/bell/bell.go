// Package bell tells the workers of Asynq's queues about new tasks, so that an
// idle worker begins at once and not with its next look. outboxd's relay rings
// whenever it has enqueued tasks.
//
// It only matters for latency: a worker that misses the bell finds the tasks by
// looking.
package bell

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// Channel is the Redis channel on which publishers announce new tasks. Its name
// begins like Asynq's keys, for users that may use no others. All databases of a
// Redis share it: a needless ring costs one look.
const Channel = "asynq:{outboxd}:bell"

// Publish rings for all workers, after the other commands of a pipeline.
func Publish(ctx context.Context, pipe redis.Pipeliner) { pipe.Publish(ctx, Channel, "") }

// How long a listener waits before it tests a silent connection, and before it
// tries again to connect.
const (
	silence = 10 * time.Second
	again   = time.Second
)

// Bell is a bell that can be rung. One ring is kept until it is received.
type Bell chan struct{}

// New returns a Bell.
func New() Bell { return make(Bell, 1) }

// Ring makes the next receive from b return at once.
func (b Bell) Ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// Listen rings for every message of a publisher, and whenever it begins to
// listen, because messages may have been missed before. It returns when ctx
// ends. It calls failed when a subscription ends, and then tries again.
func (b Bell) Listen(ctx context.Context, client redis.UniversalClient, failed func(error)) {
	for ctx.Err() == nil {
		if err := b.subscribe(ctx, client); ctx.Err() == nil {
			failed(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// subscribe rings until the subscription fails. A subscription that Redis did not
// confirm counts as failed, because it would be silent for ever.
func (b Bell) subscribe(ctx context.Context, client redis.UniversalClient) error {
	subscription := client.Subscribe(ctx, Channel)
	defer func() { _ = subscription.Close() }()
	// A waiting read does not notice the end of its context.
	defer context.AfterFunc(ctx, func() { _ = subscription.Close() })()
	for confirmed := false; ; {
		word, err := receive(ctx, subscription)
		switch _, answered := word.(*redis.Subscription); {
		case err == nil:
			confirmed = confirmed || answered
			b.Ring()
		case isTimeout(err) && confirmed:
			_ = subscription.Ping(ctx) // a fault of the connection shows in the next read
		default:
			return err
		}
	}
}

// receive waits for a message. go-redis panics at an unknown answer.
func receive(ctx context.Context, subscription *redis.PubSub) (word any, err error) {
	defer func() {
		if strange := recover(); strange != nil {
			err = fmt.Errorf("an answer to SUBSCRIBE that is none: %v", strange)
		}
	}()
	return subscription.ReceiveTimeout(ctx, silence)
}

func isTimeout(err error) bool {
	failure, ok := errors.AsType[net.Error](err)
	return ok && failure.Timeout()
}

// Pause is the pause that a server of Asynq needs when the waiting is done by its
// Redis client: set it as asynq.Config.TaskCheckInterval.
const Pause = time.Millisecond / 2
