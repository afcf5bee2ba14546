package pipeline

import (
	"context"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/client/redisreply"
)

// confirmWithin is how long Redis may take to confirm a subscription.
const confirmWithin = 5 * time.Second

// Subscribe returns a subscription that Redis has confirmed. If Redis does not confirm it within five
// seconds, or before the Client stops, the first receive from the subscription returns the cause.
//
// Asynq waits for the confirmation without a time limit, and while it waits, its server cannot shut
// down. So Subscribe waits in its place. Asynq then receives the answer to a ping instead.
func (c *Client) Subscribe(ctx context.Context, channels ...string) *redis.PubSub {
	subscription := c.UniversalClient.Subscribe(ctx, channels...)
	if err := c.confirm(ctx, subscription); err != nil {
		_ = subscription.Close()
		return failing(ctx, err, channels)
	}
	return subscription
}

func (c *Client) confirm(ctx context.Context, subscription *redis.PubSub) error {
	// A read does not notice the end of a context.
	stop := context.AfterFunc(c.taker.ctx, func() { _ = subscription.Close() })
	_, err := redisreply.Receive(ctx, subscription, confirmWithin)
	if err == nil {
		err = subscription.Ping(ctx)
	}
	if !stop() {
		// Asynq panics if a subscription that it uses is closed, so it must not get this one.
		err = context.Cause(c.taker.ctx)
	}
	return err
}

// failing returns a subscription that cannot connect, because of err. A closed subscription would not say
// the cause. Nobody closes its client, so the client must start no goroutines.
func failing(ctx context.Context, err error, channels []string) *redis.PubSub {
	client := redis.NewClient(&redis.Options{
		Dialer:                   func(context.Context, string, string) (net.Conn, error) { return nil, err },
		MaintNotificationsConfig: withoutNotices(),
	})
	return client.Subscribe(ctx, channels...)
}
