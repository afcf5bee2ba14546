package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/jobs/broker"
)

// ring adds to a pipeline, behind what enqueues tasks, the word that they are
// there. A Redis that forbids it, or nobody listening, costs latency only.
func ring(ctx context.Context, pipe redis.Pipeliner) { pipe.Publish(ctx, broker.BellChannel, "") }

// How long a listener waits before it asks whether its silent connection still
// lives, and before it tries again to get one.
const (
	bellSilence = 10 * time.Second
	bellAgain   = time.Second
)

// bell hears publishers. It may be rung once in advance.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// listen rings for every word of a publisher, and whenever it begins to listen,
// since words may have been missed before. It returns when ctx ends.
func (b bell) listen(ctx context.Context, client redis.UniversalClient, log *slog.Logger, heard *complaints) {
	deaf := sync.Once{}
	for ctx.Err() == nil {
		err := b.subscribe(ctx, client)
		if broker.IsForbidden(broker.Whence(err)) {
			deaf.Do(func() {
				log.Warn("Redis does not let this worker hear of new tasks, so an idle worker finds them only when it looks; allow its user the channel",
					"channel", broker.BellChannel, "error", err)
			})
		} else {
			heard.hear(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(bellAgain):
		}
	}
}

// subscribe rings until the subscription fails. One that Redis did not confirm has
// failed: it would be silent for ever.
func (b bell) subscribe(ctx context.Context, client redis.UniversalClient) error {
	subscription := client.Subscribe(ctx, broker.BellChannel)
	defer subscription.Close()
	// A read that waits does not notice that its context ends.
	defer context.AfterFunc(ctx, func() { _ = subscription.Close() })()
	for confirmed := false; ; {
		word, err := receive(ctx, subscription)
		switch _, answered := word.(*redis.Subscription); {
		case err == nil:
			confirmed = confirmed || answered
			b.ring()
		case broker.IsTimeout(err) && confirmed:
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
			err = broker.UnexpectedReply{To: "SUBSCRIBE", Reply: fmt.Sprint(strange)}
		}
	}()
	return subscription.ReceiveTimeout(ctx, bellSilence)
}
