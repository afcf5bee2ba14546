// Package bell lets the workers of Asynq's queues hear of new tasks, so that an
// idle one begins at once and not when it looks again. outboxd's relay rings
// whenever it has enqueued tasks.
//
// It is a latency matter only: whoever hears nothing finds the tasks by looking.
package bell

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// Channel is the Redis channel on which publishers say that there are new tasks.
// It lies where Asynq's keys do, for users who may use nothing else. All
// databases of a Redis share it: who hears it for nothing looks once.
const Channel = "asynq:{outboxd}:bell"

// Publish rings for everybody, behind what else is in a pipeline.
func Publish(ctx context.Context, pipe redis.Pipeliner) { pipe.Publish(ctx, Channel, "") }

// How long a listener waits before it asks whether its silent connection still
// lives, and before it tries again to get one.
const (
	silence = 10 * time.Second
	again   = time.Second
)

// Bell hears publishers. It may be rung once in advance.
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

// Listen rings for every word of a publisher, and whenever it begins to listen,
// since words may have been missed before. It returns when ctx ends. failed is
// told of every end of a subscription, after which it tries again.
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

// subscribe rings until the subscription fails. One that Redis did not confirm has
// failed: it would be silent for ever.
func (b Bell) subscribe(ctx context.Context, client redis.UniversalClient) error {
	subscription := client.Subscribe(ctx, Channel)
	defer func() { _ = subscription.Close() }()
	// A read that waits does not notice that its context ends.
	defer context.AfterFunc(ctx, func() { _ = subscription.Close() })()
	for confirmed := false; ; {
		word, err := receive(ctx, subscription)
		switch _, answered := word.(*redis.Subscription); {
		case err == nil:
			confirmed = confirmed || answered
			b.Ring()
		case isTimeout(err) && confirmed:
			_ = subscription.Ping(ctx) // what is wrong with the connection shows in the next read
		default:
			return err
		}
	}
}

// receive waits for a word. go-redis panics at an answer that is none of those that
// it knows.
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
