// Package redisreply interprets replies of Redis. The daemon, its worker and the consumers
// of services share the package, so that they agree on what a reply means.
package redisreply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Unexpected is a reply that Redis never gives to the command. The command does not count
// as executed: a proxy between this process and Redis may have given the reply.
type Unexpected struct {
	To    string // the command, in words
	Reply any
}

// Error implements error.
func (e Unexpected) Error() string {
	return fmt.Sprintf("the answer to %s was %.60q (%T), which Redis never gives: look what stands before Redis", e.To, fmt.Sprint(e.Reply), e.Reply)
}

// IsTimeout reports whether a reply did not come in time.
func IsTimeout(err error) bool {
	late, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && late.Timeout()
}

// IsFull reports whether Redis refused a command, or the first write of a script, because it has
// reached its maxmemory. Then nothing was written. If it refused a write of a script, Redis 6 writes
// other words before the refusal.
func IsFull(err error) bool {
	answer, answered := errors.AsType[redis.Error](err)
	return answered && (strings.HasPrefix(answer.Error(), "OOM ") || strings.Contains(answer.Error(), ": -OOM "))
}

// Receive waits for the next message of a subscription, at most for the given time. Receive returns an
// error for an unknown answer, at which go-redis panics.
func Receive(ctx context.Context, subscription *redis.PubSub, within time.Duration) (message any, err error) {
	defer func() {
		if strange := recover(); strange != nil {
			err = fmt.Errorf("the answer to SUBSCRIBE is wrong: %v", strange)
		}
	}()
	return subscription.ReceiveTimeout(ctx, within)
}
