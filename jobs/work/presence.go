package work

import (
	"context"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/jobs/broker"
)

// How long the key of an own worker lasts, and how often it is written anew.
const (
	presentFor   = 3 * time.Minute
	presentEvery = time.Minute
)

// show writes into Redis that this process runs workers of outboxd, until ctx ends. Asynq lists the workers of all
// programs, and does not say whose they are. If the key cannot be written, show tries again after presentEvery.
func show(ctx context.Context, client redis.UniversalClient) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown-host" // as Asynq calls it
	}
	tick := time.NewTicker(presentEvery)
	defer tick.Stop()
	for {
		_ = client.Set(ctx, broker.OwnWorkerKey(host, os.Getpid()), 1, presentFor).Err()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
