// Package presence shows in Redis what a process that runs Asynq workers says about itself, such as
// its version. Asynq lists the workers of all programs, with host and PID, but no more of them.
package presence

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
)

// How long a key lasts, and how often it is written again.
const (
	lasts = 3 * time.Minute
	every = time.Minute
)

// VersionKey returns the key with the version of the workers of a process. The key begins like
// Asynq's keys, because some Redis users may access only keys that begin so.
func VersionKey(host string, pid int) string {
	return fmt.Sprintf("asynq:{outboxd}:version:%s:%d", host, pid)
}

// ShowVersion shows the version of this process's workers until ctx ends, and up to three minutes
// longer. All workers of a process have one version: the latest that was written. The version "" is
// written too, because another process may have had the same host and PID. If Redis does not
// accept it, ShowVersion tries again a minute later.
func ShowVersion(ctx context.Context, client redis.UniversalClient, version string) {
	Keep(ctx, client, VersionKey(Process()), version)
}

// Keep writes a key that lasts three minutes, and writes it again every minute until ctx ends.
func Keep(ctx context.Context, client redis.UniversalClient, key string, value any) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		_ = client.Set(ctx, key, value, lasts).Err()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Process returns the host and the PID with which Asynq lists the workers of this process.
func Process() (host string, pid int) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown-host" // as Asynq calls it
	}
	return host, os.Getpid()
}
