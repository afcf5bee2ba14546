// Package bell tells idle Asynq workers about new tasks, so that they begin at once
// and not at their next poll. outboxd's relay rings, that is, publishes a Redis
// message, whenever it has enqueued tasks.
//
// The bell only reduces latency: a worker that misses it finds the tasks by
// polling.
package bell

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/client/redisreply"
)

// Channel is the Redis channel on which publishers announce new tasks. The
// channel's name begins like Asynq's keys, because some Redis users may use only
// such names. All databases of a Redis share the channel: a ring for another
// database costs one needless poll.
const Channel = "asynq:{outboxd}:bell"

// Publish adds a command to the end of a pipeline. The command rings the bells of all
// workers that listen.
func Publish(ctx context.Context, pipe redis.Pipeliner) { pipe.Publish(ctx, Channel, "") }

const (
	silence = 10 * time.Second // after this time without a message a listener pings its connection
	again   = time.Second      // a listener's pause after a failure, before it connects again
)

// Bell is a signal within this process. Bell tells one Asynq worker of new tasks. A
// Bell keeps one ring until the worker receives it.
type Bell chan struct{}

// New returns a Bell.
func New() Bell { return make(Bell, 1) }

// Ring stores a ring in b, so that the next receive from b returns at once.
func (b Bell) Ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// Listen rings for every message on Channel. Listen also rings whenever a subscription
// begins, because messages may have been missed before. The answer to a ping rings too,
// which costs a needless poll. When a subscription fails, Listen calls the function
// failed, and tries again a second later. Listen returns when ctx ends.
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

// subscribe listens and rings until the subscription fails. A subscription that
// Redis does not confirm counts as failed, because no message would ever come.
func (b Bell) subscribe(ctx context.Context, client redis.UniversalClient) error {
	subscription := client.Subscribe(ctx, Channel)
	defer func() { _ = subscription.Close() }()
	// A read that waits for a message does not notice the end of its context. So
	// close the subscription.
	defer context.AfterFunc(ctx, func() { _ = subscription.Close() })()
	for confirmed := false; ; {
		word, err := redisreply.Receive(ctx, subscription, silence)
		switch _, answered := word.(*redis.Subscription); {
		case err == nil:
			confirmed = confirmed || answered
			b.Ring()
		case redisreply.IsTimeout(err) && confirmed:
			_ = subscription.Ping(ctx) // a fault of the connection shows in the next read
		default:
			return err
		}
	}
}

// Pause is the asynq.Config.TaskCheckInterval for an Asynq server whose Redis
// client is a pipeline.Client: that client itself waits while the queues are empty.
const Pause = time.Millisecond / 2
