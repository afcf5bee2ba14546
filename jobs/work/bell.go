package work

import (
	"context"
	"log/slog"
	"sync"

	"github.com/redis/go-redis/v9"

	"outboxd/client/bell"
	"outboxd/domain"
	"outboxd/jobs/broker"
)

// listen rings b for every bell message that a publisher sends through Redis, until ctx ends.
func listen(ctx context.Context, b bell.Bell, client redis.UniversalClient, log *slog.Logger, heard *complaints) {
	deaf := sync.Once{}
	b.Listen(ctx, client, func(err error) {
		switch f, _ := broker.FindingOf(err); {
		case f.Code == domain.CodeRedisUnreachable:
			return // it costs only latency; if Redis is away, other commands of the worker show it
		case !broker.IsForbidden(broker.Whence(err)):
			heard.hear(err)
			return
		}
		deaf.Do(func() {
			log.Warn("Redis does not let this worker subscribe to new tasks, so an idle worker finds them only when it polls; allow its user the channel",
				"channel", bell.Channel, "error", err)
		})
	})
}
