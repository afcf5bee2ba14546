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

// complaints is a hook for the Redis client of a worker: it logs what stands in
// the worker's way and what mends it. Asynq itself says what failed for each of
// its loops, and not what to do. It is safe for concurrent use.
type complaints struct {
	log *slog.Logger
	mu  sync.Mutex
	at  map[string]time.Time // when each finding was logged
}

// complainEvery is how often one that lasts is logged.
const complainEvery = 5 * time.Minute

func newComplaints(log *slog.Logger) *complaints {
	return &complaints{log: log, at: map[string]time.Time{}}
}

// hear logs an error that needs action. What a script of Asynq's says
// about a task, and a script that has to be sent in full, are none.
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

// introduces tells the commands by which go-redis gives its name (CLIENT SETINFO),
// which Redis knows from 7.2 on, and nobody needs.
func introduces(commands []redis.Cmder) bool {
	return len(commands) > 0 && commands[0].Name() == "client"
}
