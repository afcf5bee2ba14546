package work

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/jobs/broker"
)

// complaints is a hook for the Redis client of a worker. complaints logs errors that need action, with their
// remedy. Asynq itself logs only the failed command, for each of its loops. complaints is safe for
// concurrent use.
type complaints struct {
	log *slog.Logger
	mu  sync.Mutex
	at  map[string]time.Time // when each finding was logged
}

// complainEvery is how often a lasting error is logged again.
const complainEvery = 5 * time.Minute

func newComplaints(log *slog.Logger) *complaints {
	return &complaints{log: log, at: map[string]time.Time{}}
}

// hear is called with errors of a worker's Redis commands, and logs those that need action. hear ignores
// errors that Asynq's scripts return about a task, and NOSCRIPT, after which the script is sent in full.
func (c *complaints) hear(err error) {
	if err == nil || errors.Is(err, redis.Nil) || redis.HasErrorPrefix(err, broker.NoScript) {
		return
	}
	f, known := broker.FindingOf(err)
	if !known || f.Code == broker.AnswerUnknown {
		return
	}
	c.mu.Lock()
	again := time.Since(c.at[f.Code]) >= complainEvery
	if again {
		c.at[f.Code] = time.Now()
	}
	c.mu.Unlock()
	if again {
		c.log.Warn("this worker cannot work with Redis: "+f.Found, "finding", f.Code, "remedy", f.Remedy, "error", err)
	}
}

func (c *complaints) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return next(ctx, network, address)
	}
}

func (c *complaints) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		err := next(ctx, command)
		c.hear(err)
		return err
	}
}

func (c *complaints) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		err := next(ctx, commands)
		if !introduces(commands) {
			c.hear(err)
		}
		return err
	}
}

// introduces reports whether the commands are those with which go-redis sends its name (CLIENT SETINFO). Redis has
// them since 7.2, and outboxd does not need them, so their errors are ignored.
func introduces(commands []redis.Cmder) bool {
	return len(commands) > 0 && commands[0].Name() == "client"
}
